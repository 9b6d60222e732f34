"""Reruns: the values that a run had, whatever the scenario file and the flags say now, and what differs."""

from __future__ import annotations

import json

import pytest

from lab.common.errors import UsageError
from lab.run import rerun
from lab.scenario.resolve import Settings
from tests.support.runfolders import make_run
from tests.support.scenarios import TEXT

SWEEP = TEXT + "sweep: {swarm.users: [2, 4]}\nlinks:\n  - {endpoints: [swarm, servers], delay: 20ms}\n"


def test_it_has_the_values_of_the_run_units_and_all(tmp_path):
    run = make_run(tmp_path, text=SWEEP, overrides=("swarm.spawn-rate=77", "handler={sleep: 10ms}"))
    recorded = rerun.read(run, Settings())
    assert recorded.resolved.scenario.swarm.spawn_rate == 77
    assert recorded.resolved.scenario.handler == "sleep:10ms"
    stored = json.loads((run / "scenario.resolved.json").read_text())
    assert recorded.resolved.scenario.model_dump(mode="json") == stored
    assert recorded.scenario_file.read_text() == SWEEP
    assert recorded.runtime == "docker"


def test_it_has_the_servers_that_ran_in_the_scenarios_order(tmp_path):
    assert rerun.read(make_run(tmp_path / "a"), Settings()).servers == ("thread", "epoll_lt")
    only = make_run(tmp_path / "b", only=["epoll_lt"])
    assert rerun.read(only, Settings()).servers == ("epoll_lt",)


def test_a_run_without_its_values_and_a_folder_that_is_none_are_refused(tmp_path):
    run = make_run(tmp_path)
    (run / "scenario.resolved.yaml").unlink()
    with pytest.raises(UsageError, match="run it by name"):
        rerun.read(run, Settings())
    with pytest.raises(UsageError, match="not a run"):
        rerun.read(tmp_path, Settings())


THEN = {
    "lab": "0.1.0",
    "host": {"kernel": "6.1", "cpus": [0, 1], "memory_available_bytes": 5},
    "images": {"a": 1},
}


def test_what_differs_is_named_and_what_passes_is_not():
    now = {
        "lab": "0.2.0",
        "host": {"kernel": "6.1", "cpus": (0, 1), "memory_available_bytes": 6, "new": True},
    }
    assert rerun.differences(THEN, THEN) == []
    assert rerun.differences(THEN, now) == [
        ("lab", "0.1.0", "0.2.0"),
        ("images.a", 1, None),
        ("host.new", None, True),
    ]
    assert [d.what for d in rerun.differences(THEN, now, known=False)] == ["lab", "host.new"]
