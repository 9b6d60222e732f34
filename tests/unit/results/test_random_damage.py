"""Whatever happens to the files of a trial, its run is reported: damage is a finding, never a traceback."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.report import write_all
from tests.support import records
from tests.support.runfolders import kept

BATCHES, EACH = 8, 25
OTHERS: list[Any] = [
    None, True, -1, 0, 2**64 - 1, -(2**63), 1e308, -1e308, 5e-324, 1.5, 1e19, "", "x", "0", "0-999999", "<b>",
    "../x", [], {}, [None], {"a": 1},
]  # fmt: skip
WHOLE = (0, 1, 2, 100, 10**6, 2**31, 2**53, 2**63 - 1)
FLOATS = (0.0, 1e-9, 1.0, -1.0, 1e6, 1e15, 1e19)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield (container, key) of every value within."""
    for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(inner, dict | list):
            yield from places(inner)


def other(chance: random.Random, value: Any) -> Any:
    """Another value, of the same type in half of all cases."""
    if chance.random() < 0.5:
        return chance.choice(OTHERS)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return chance.choice((*WHOLE, value * 2, value // 2, value + 1))
    if isinstance(value, float):
        return chance.choice((*FLOATS, value * 2, -value, value * 1000))
    if isinstance(value, str) and value:
        at = chance.randrange(len(value))
        return value[:at] + chr(chance.randrange(32, 127)) + value[at + 1 :]
    if isinstance(value, list):
        return value[: chance.randrange(len(value) + 1)] * chance.choice((1, 2))
    return chance.choice(OTHERS)


def spoiled_record(chance: random.Random, record: dict[str, Any]) -> dict[str, Any]:
    """A copy of a record with up to three values changed, or taken away."""
    changed = copy.deepcopy(record)
    for _ in range(chance.choice((1, 1, 2, 3))):
        top = chance.choice(list(changed))  # so that the hundreds of values of seconds leave room for others
        inside = list(places(changed[top])) if isinstance(changed[top], dict | list) else []
        container, key = chance.choice([(changed, top), *inside])
        if chance.random() < 0.1:
            del container[key]
        else:
            container[key] = other(chance, container[key])
        if not changed:
            break
    return changed


def spoiled_series(chance: random.Random, text: str) -> str:
    """The text of a series with lines changed, taken away or cut off."""
    lines = text.splitlines()
    for _ in range(chance.choice((1, 3, 20))):
        at = chance.randrange(len(lines))
        fields = lines[at].split(",")
        column = chance.randrange(len(fields))
        fields[column] = str(chance.choice((*OTHERS, *FLOATS, "-" + fields[column], fields[column] + "9")))
        lines[at : at + 1] = chance.choice(([",".join(fields)], [",".join(fields)], [], [lines[at]] * 2))
        lines = lines or [""]
    return "\n".join(lines[: chance.randrange(len(lines)) + 1] if chance.random() < 0.2 else lines)


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kept(tmp_path_factory.mktemp("healthy"), records.trial("epoll_lt/1"))


@pytest.mark.parametrize("batch", range(BATCHES))
def test_a_spoiled_trial_is_reported(healthy, batch):
    record, series = (healthy / "trials/epoll_lt-1" / name for name in ("record.json", "series.csv"))
    whole, rows = record.read_text(), series.read_text()
    try:
        for number in range(EACH):
            chance = random.Random(f"{batch} {number}")
            if chance.random() < 0.75:
                record.write_text(json.dumps(spoiled_record(chance, json.loads(whole))))
            else:
                series.write_text(spoiled_series(chance, rows))
            summary = write_all(healthy)
            json.dumps(summary.model_dump(mode="json"), allow_nan=False)
            failed = [f.says for f in summary.findings if "the check itself failed" in f.says]
            assert not failed, f"batch {batch}, number {number}"
            record.write_text(whole)
            series.write_text(rows)
    finally:
        record.write_text(whole)
        series.write_text(rows)
