"""The Locust swarm: wait until it is ready, say GO, watch every node that matters, take the result."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from lab.common.clock import mono_ms
from lab.common.errors import Exit, LabError, NoMeasurement
from lab.load import OnEvent
from lab.load.merge import merged
from lab.load.together import Stream, begin
from lab.plan.plan import Trial
from lab.results.record import LoadResult
from lab.runtime import Deployment, Event
from lab.scenario.swarm import Group

READY_DEADLINE_S = 60.0
# The master merges and prints its records after the drain; Locust's own shutdown takes 1–3 s.
SLACK_S = 30.0
LOOK_S = 0.25


class LocustDriver:
    """Drives the masters and the workers of images/CONTRACT.md: one master, or one for each named group."""

    def run(self, deployment: Deployment, trial: Trial, on_event: OnEvent) -> LoadResult:
        """See Driver. The server's death does not end it: that is a result; a lost worker or master does."""
        groups = trial.scenario.swarm.parts
        masters = [group.master for group in groups]
        for master in masters:
            deployment.wait_event(master, "ready", READY_DEADLINE_S)
        seen = _Watch(groups, on_event)
        deployment.subscribe(seen.take)
        for master in masters:
            deployment.signal(master, "SIGUSR1")
        deadline_ms = mono_ms() + 1000 * _longest(trial)
        held = bool(trial.scenario.swarm.groups)
        while not seen.done.wait(LOOK_S):
            _everyone_alive(deployment, seen)
            if held and seen.all_held:
                begin(deployment.signal, masters)
                held = False
            if mono_ms() > deadline_ms:
                raise NoMeasurement(
                    f"the load did not end within {_longest(trial):.0f} s; its last phase was {seen.phase}"
                )
        if seen.error:
            raise seen.error
        if seen.lost:
            raise WorkerLost(seen.lost)
        loads = {group.name: _told(deployment, group.master, seen.results[group.master]) for group in groups}
        return merged(loads) if trial.scenario.swarm.groups else loads[""]


class WorkerLost(NoMeasurement):
    """A swarm node died in the window: the trial is INVALID (exit 5), its raw data is kept."""

    exit_code = Exit.UNTRUSTED


class _Watch:
    """Collects the masters' events as they come."""

    def __init__(self, groups: Sequence[Group], on_event: OnEvent) -> None:
        self._groups = {group.master: group for group in groups}
        self._stream = Stream(list(self._groups), on_event)
        self._held: set[str] = set()
        self.done = threading.Event()
        self.results: dict[str, Mapping[str, Any]] = {}
        self.lost: str | None = None
        self.error: LabError | None = None
        self.phase = "none"

    @property
    def all_held(self) -> bool:
        """Whether every group has its connections and waits to begin."""
        return len(self._held) == len(self._groups)

    def take(self, node: str, event: Event) -> None:
        if node not in self._groups:
            return
        kind = event.get("event")
        if kind == "phase":
            self.phase = event["phase"]
            if self.phase == "held":
                self._held.add(node)
        if kind == "worker_lost":
            worker = self._groups[node].node(f"worker-{event.get('worker_index')}")
            self.lost = self.lost or f"{worker}: {event.get('says')}"
        if kind == "result":
            self.results[node] = event
        try:
            self._stream.take(node, event)
        except LabError as error:
            self.error = self.error or error
        if self.lost or self.error or len(self.results) == len(self._groups):
            self.done.set()


def _told(deployment: Deployment, master: str, result: Mapping[str, Any]) -> LoadResult:
    events = deployment.events(master)
    seconds = tuple(e for e in events if e.get("event") == "second")
    phases = {e["phase"]: float(e["starts_mono_ms"]) for e in events if e.get("event") == "phase"}
    return LoadResult(result, seconds, phases)


def _longest(trial: Trial) -> float:
    swarm = trial.scenario.swarm
    ramp = swarm.users / swarm.spawn_rate
    load = swarm.phases.warmup + swarm.phases.measure
    return ramp + swarm.connect_deadline + load + swarm.drain + swarm.request_timeout + SLACK_S


def _everyone_alive(deployment: Deployment, seen: _Watch) -> None:
    """The swarm and the helpers that hold its links; the server may die, that is a result."""
    for name in deployment.nodes():
        ended = None if name == "server" else deployment.exited(name)
        if ended is None or (ended.code == 0 and ended.signal is None):
            continue
        how = ended.signal or f"exit code {ended.code}"
        raise WorkerLost(f"{name} died ({how}) in phase {seen.phase}; see {deployment.log_path(name).name}")
