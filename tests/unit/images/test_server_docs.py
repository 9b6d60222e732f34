"""docs/models.md: its table is made from the manifest, and every model has a section."""

from __future__ import annotations

import pytest
from iomodels import catalogue, manifest

from lab.common.paths import ROOT

PAGE = (ROOT / "docs/models.md").read_text(encoding="utf-8")


def test_the_table_is_fresh() -> None:
    assert catalogue.updated(PAGE) == PAGE, "it is old: make generated"


@pytest.mark.parametrize("model", manifest.load())
def test_every_model_is_described(model: str) -> None:
    _, found, section = PAGE.partition(f"\n## `{model}`\n")
    assert found, f"docs/models.md has no section ## `{model}`"
    section = section.partition("\n## ")[0]
    for word in ("**Waits**", "**Calls**", "**Cost**", "**Trap**", "**Use**"):
        assert word in section, f"docs/models.md, section `{model}`: no {word}"


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="do not edit"):
        catalogue.updated("# nothing")
