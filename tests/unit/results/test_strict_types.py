"""No record converts what it reads: text is no number, and 1 is no flag."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import TypeAdapter

from lab.results.manifest import Manifest, Repeated
from lab.results.node import Scheduled
from lab.results.record import TrialRecord
from lab.results.swarm_event import MasterEvent

CONVERTED = ("int", "float", "bool")


def lax(schema: Any, field: str = "", strict: bool = False) -> Iterator[str]:
    """Yield the fields of a schema of pydantic's core whose type would be converted."""
    if isinstance(schema, list | tuple):
        for inner in schema:
            yield from lax(inner, field, strict)
    if not isinstance(schema, dict):
        return
    kind = schema.get("type")
    if kind in ("model", "dataclass"):  # its configuration is that of all its fields
        strict = bool(schema.get("config", {}).get("strict"))
    if kind in CONVERTED and not schema.get("strict", strict):
        yield f"{field}: {kind}"
    for key, inner in schema.items():
        if kind == "model-fields" and key == "fields":
            for name, one in inner.items():
                yield from lax(one, name, strict)
        elif key not in ("serialization", "metadata", "config"):
            yield from lax(inner, schema["name"] if kind == "dataclass-field" else field, strict)


@pytest.mark.parametrize("kind", [TrialRecord, Manifest, Repeated, Scheduled, MasterEvent])
def test_numbers_and_flags_of_a_record_are_strict(kind):
    assert list(lax(TypeAdapter(kind).core_schema)) == []
