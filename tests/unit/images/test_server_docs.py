"""docs/models.md: its table is what the manifest says, and no model goes undescribed."""

from __future__ import annotations

from pathlib import Path

import pytest
from iomodels import catalogue, manifest

PAGE = (Path(__file__).resolve().parents[3] / "docs/models.md").read_text(encoding="utf-8")


def test_the_table_is_fresh() -> None:
    assert catalogue.renewed(PAGE) == PAGE, "make it anew: make generated"


@pytest.mark.parametrize("model", manifest.load())
def test_every_model_is_described(model: str) -> None:
    _, _, section = PAGE.partition(f"\n## `{model}`\n")
    section = section.partition("\n## ")[0]
    for word in ("**Waits**", "**Calls**", "**Cost**", "**Trap**", "**Use**"):
        assert word in section, f"{model}: no {word}"


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="do not edit"):
        catalogue.renewed("# nothing")
