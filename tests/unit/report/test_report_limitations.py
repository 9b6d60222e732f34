"""Topology and limits of a result are those of the runtime that made it."""

from __future__ import annotations

from dataclasses import replace

from lab.report.content.limitations import limits, topology
from tests.support.records import judged, run, trial


def test_containers_have_networks_of_their_own() -> None:
    made = topology(run(trial()), judged(trial()))
    assert made["below"].startswith("data network")
    assert "control network" in made["says"]


def test_plain_processes_have_the_loopback_and_are_told_once() -> None:
    local = replace(trial(), runtime="local", stamps=("not isolated",))
    made = topology(run(local), judged(local))
    assert made["below"].startswith("host's loopback")
    assert "control network" not in made["says"]
    said = limits(run(local), judged(local).model_copy(update={"stamps": ("not isolated",)}))
    assert len([one for one in said if "not isolated" in one]) == 1
