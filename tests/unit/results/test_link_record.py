"""A link's record: old ones are read, new ones come back, and what is no record is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from lab.common.paths import ROOT
from lab.results.link import Directions, LinkChange, LinkRecord, Measured, RoundTrips
from lab.results.record import Series, TrialRecord
from lab.scenario.impairment import Impairment

GOLDEN = sorted((ROOT / "tests/data/golden/trials").glob("*/record.json"))
OLD: dict[str, Any] = {"endpoints": ["swarm", "servers"], "backend": "netem", "stamp": ""}


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.parent.name)
def test_a_golden_record_comes_back(path: Path) -> None:
    kept = json.loads(path.read_text(encoding="utf-8"))
    record = TrialRecord.from_json(kept, Series())
    again = TrialRecord.from_json(json.loads(json.dumps(record.to_json())), Series())
    assert again.links == record.links
    for link, old in zip(record.links, kept["links"], strict=True):
        assert link.requested == Directions(Impairment(delay_ms=20), Impairment(delay_ms=20))
        new = link.model_dump(mode="json", exclude_unset=True)
        assert {key: new[key] for key in old} == old


def test_an_unprobed_link_of_an_older_record_is_read() -> None:
    record = LinkRecord.model_validate(OLD | {"requested": {}, "measured": {}, "counters": {}})
    assert (record.requested, record.measured, record.changes) == (Directions(), Measured(), ())


def test_a_distribution_that_the_kernel_did_not_name_is_read() -> None:
    configured = {"server eth0": {"delay_ms": 5.0, "jitter_ms": 9.0, "limit_packets": 1000}}
    record = LinkRecord.model_validate(OLD | {"configured": configured})
    assert record.model_dump(mode="json")["configured"] == configured


def test_directions_that_differ_are_kept_apart_and_without_seeds() -> None:
    requested = Directions(Impairment(delay_ms=30, loss=0.1, seed=4), Impairment(delay_ms=10))
    record = LinkRecord(endpoints=("a", "b"), backend="netem", requested=requested)
    kept = record.model_dump(mode="json")
    assert kept["requested"] == {"there": {"delay_ms": 30, "loss": 0.1}, "back": {"delay_ms": 10}}
    assert LinkRecord.model_validate(kept).requested == requested.without_seeds()
    assert requested.rtt_ms == 40
    assert requested.loss_share == pytest.approx(0.1)
    assert Directions(Impairment(loss=0.1), Impairment(corrupt=0.1)).loss_share == pytest.approx(0.19)


def test_changes_and_probes_come_back() -> None:
    change = LinkChange(
        wanted_mono_ms=5.0,
        applied_mono_ms=5.5,
        there=Impairment(loss_state=(0.1, 0.2, 0, 1, 0)),
        back=Impairment(),
    )
    lost = RoundTrips(sent=20, lost=20, loss=1.0, by="icmp")
    record = LinkRecord(
        endpoints=("a", "b"), backend="delayline", changes=(change,), measured=Measured(loss=1.0, before=lost)
    )
    assert LinkRecord.model_validate(json.loads(record.model_dump_json())) == record


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"colour": "red"}, "colour"),
        ({"requested": {"dealy_ms": 5}}, "unknown dealy_ms"),
        ({"requested": {"there": {}, "forth": {}}}, "unknown forth"),
        ({"requested": 5}, "5 is not an object"),
        ({"counters": {"server eth0": {"packets": "many"}}}, "packets"),
        ({"measured": {"before": {"sent": 5}}}, "lost"),
    ],
)
def test_what_is_no_record_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        LinkRecord.model_validate(OLD | changes)
