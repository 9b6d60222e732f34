"""Values stay typed behind the two doors that decode them: untyped maps and look-ups by key stay few."""

from __future__ import annotations

import re

from lab.common.paths import ROOT

MOST_MAPS, MOST_LOOKUPS = 80, 60


def lines_with(pattern: str) -> int:
    files = list((ROOT / "lab").rglob("*.py"))
    assert files
    return sum(bool(re.search(pattern, line)) for file in files for line in file.read_text().splitlines())


def test_untyped_maps_stay_few() -> None:
    assert lines_with(r"(Mapping|dict)\[str, Any\]") <= MOST_MAPS


def test_lookups_by_key_stay_few() -> None:
    assert lines_with(r"\.get\(['\"]") <= MOST_LOOKUPS
