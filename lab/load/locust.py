"""The Locust swarm: wait until it is ready, say GO, watch every node that matters, take the result."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from lab.clock import mono_ms
from lab.errors import Exit, LabError, NoMeasurement
from lab.load import OnEvent
from lab.plan import Trial
from lab.record import LoadResult
from lab.runtime import Deployment, Event

READY_DEADLINE_S = 60.0
# The master merges and prints its records after the drain; Locust's own shutdown takes 1–3 s.
SLACK_S = 30.0
LOOK_S = 0.25


class LocustDriver:
    """Drives the master and the workers of images/CONTRACT.md."""

    def run(self, deployment: Deployment, trial: Trial, on_event: OnEvent) -> LoadResult:
        """See Driver. The server's death does not end it: that is a result; a lost worker or master does."""
        deployment.wait_event("master", "ready", READY_DEADLINE_S)
        seen = _Watch(on_event)
        deployment.subscribe(seen.take)
        deployment.signal("master", "SIGUSR1")
        deadline_ms = mono_ms() + 1000 * _longest(trial)
        while not seen.done.wait(LOOK_S):
            _everyone_alive(deployment, seen)
            if mono_ms() > deadline_ms:
                raise NoMeasurement(
                    f"the load did not end within {_longest(trial):.0f} s; its last phase was {seen.phase}"
                )
        if seen.error:
            raise seen.error
        if seen.lost:
            raise WorkerLost(seen.lost)
        events = deployment.events("master")
        seconds = tuple(e for e in events if e.get("event") == "second")
        phases = {e["phase"]: float(e["starts_mono_ms"]) for e in events if e.get("event") == "phase"}
        return LoadResult(seen.result, seconds, phases)


class WorkerLost(NoMeasurement):
    """A swarm node died in the window: the trial is INVALID (exit 5), its raw data is kept."""

    exit_code = Exit.UNTRUSTED


class _Watch:
    """Collects the master's events as they come."""

    def __init__(self, on_event: OnEvent) -> None:
        self._on_event = on_event
        self.done = threading.Event()
        self.result: Mapping[str, Any] = {}
        self.lost: str | None = None
        self.error: LabError | None = None
        self.phase = "none"

    def take(self, node: str, event: Event) -> None:
        if node != "master":
            return
        kind = event.get("event")
        if kind == "phase":
            self.phase = event["phase"]
        if kind == "worker_lost":
            self.lost = f"worker-{event.get('worker_index')}: {event.get('says')}"
            self.done.set()
        if kind == "result":
            self.result = event
        try:
            self._on_event(event)
        except LabError as error:
            self.error = self.error or error
        if kind == "result" or self.error:
            self.done.set()


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
