"""The driver decodes what a master tells; an event that breaks the contract ends the load."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lab.common.errors import Exit, NoMeasurement
from lab.load.locust import LocustDriver
from lab.plan.plan import Trial, expand
from lab.results.swarm_event import LoadEvent, PhaseStart
from lab.runtime import NodeExit
from tests.support import records
from tests.support.scenarios import resolved

PHASES = [{"event": "phase", "phase": name, "starts_mono_ms": at} for name, at in records.PHASES.items()]
SECONDS = [second.to_json() for second in records.load().seconds]
PROGRESS = {"event": "progress", **records.progress().to_json()}
TOLD = [*PHASES, PROGRESS, *SECONDS, records.result()]


class Deployment:
    """A master that tells these lines once it is started."""

    def __init__(self, *lines: dict[str, Any], dead: str = "") -> None:
        self._lines, self._dead = lines, dead

    def wait_event(self, *_: object) -> dict[str, Any]:
        return {}

    def subscribe(self, callback: Any) -> None:
        self._callback = callback

    def signal(self, node: str, _: str) -> None:
        for line in self._lines:
            self._callback(node, line)

    def nodes(self) -> list[str]:
        return ["server", "master", "worker-0"]

    def exited(self, node: str) -> NodeExit | None:
        return NodeExit(1) if node == self._dead else None

    def log_path(self, node: str) -> Any:
        from pathlib import Path

        return Path(f"{node}.log")


@pytest.fixture
def trial(tmp_path) -> Trial:
    return expand(resolved(tmp_path)).trials[0]


def run(trial: Trial, *lines: dict[str, Any], dead: str = "") -> tuple[Any, list[LoadEvent]]:
    seen: list[LoadEvent] = []
    return LocustDriver().run(Deployment(*lines, dead=dead), trial, seen.append), seen  # type: ignore[arg-type]


def test_a_load_is_what_the_master_told(trial) -> None:
    load, seen = run(trial, {"event": "log", "level": "info", "says": "hello"}, *TOLD)
    assert load == records.load()
    assert [event.phase for event in seen if isinstance(event, PhaseStart)] == list(records.PHASES)
    assert [event.event for event in seen[-1:]] == ["progress"]


@pytest.mark.parametrize("lost", [0, 7], ids=["of the warm-up", "of the window"])
def test_a_second_whose_line_is_lost_on_the_way_makes_the_trial_invalid(trial, lost) -> None:
    told = [line for line in TOLD if line.get("k") != lost]
    load, _ = run(trial, *told)
    assert len(load.seconds) == len(SECONDS) - 1
    assert ("seconds", "invalid") in records.counted(records.judged(replace(records.trial(), load=load)))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ({**records.result(), "colour": 1}, "'result' breaks images/CONTRACT.md: colour: Extra inputs"),
        ({**SECONDS[0], "answered": "9"}, "'second' breaks images/CONTRACT.md: answered: Input should be"),
        (
            {"event": "phase", "phase": "nap", "starts_mono_ms": 1.0},
            "'phase' breaks images/CONTRACT.md: phase",
        ),
    ],
)
def test_an_event_that_breaks_the_contract_ends_the_load(trial, line, says) -> None:
    with pytest.raises(NoMeasurement, match=says):
        run(trial, *PHASES, line)


@pytest.mark.parametrize(
    ("lines", "dead", "says"),
    [
        ([{"event": "worker_lost", "worker_index": 1, "says": "gone"}], "", "worker-1: gone"),
        ([], "worker-0", r"worker-0 died \(exit code 1\) in phase done; see worker-0.log"),
    ],
)
def test_a_lost_node_of_the_swarm_voids_the_trial(trial, lines, dead, says) -> None:
    with pytest.raises(NoMeasurement, match=says) as caught:
        run(trial, *PHASES, *lines, dead=dead)
    assert caught.value.exit_code == Exit.UNTRUSTED


def test_what_a_follower_raises_ends_the_load_and_is_raised(trial) -> None:
    def follow(_: LoadEvent) -> None:
        raise NoMeasurement("enough")

    with pytest.raises(NoMeasurement, match="enough"):
        LocustDriver().run(Deployment(*TOLD), trial, follow)  # type: ignore[arg-type]
