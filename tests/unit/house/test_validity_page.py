"""docs/validity.md: its tables are what the code judges by."""

from __future__ import annotations

import pytest

from lab.analysis.checks import catalogue
from lab.common.paths import ROOT

PAGE = (ROOT / "docs/validity.md").read_text(encoding="utf-8")


def test_the_tables_are_fresh() -> None:
    renewed = catalogue.renewed(PAGE)
    assert renewed == PAGE, "make it anew: make generated"


def test_every_check_says_what_it_asks() -> None:
    checks = [line for line in catalogue.tables().splitlines() if line.startswith("| `")]
    assert all(line.split("|")[2].strip() for line in checks)


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="do not edit"):
        catalogue.renewed("# nothing")
