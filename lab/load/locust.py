"""The Locust swarm: wait until it is ready, start it, watch every node that matters, take the result."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Sequence

from lab.common.clock import mono_ms
from lab.common.errors import Exit, LabError, NoMeasurement
from lab.load import OnEvent
from lab.load.barrier import begin
from lab.load.event_merger import EventMerger
from lab.load.merge import merged
from lab.plan.plan import Trial
from lab.results.base import describe
from lab.results.load import LoadResult, Second, SwarmResult
from lab.results.swarm_event import MasterEvent, PhaseStart, WorkerLost, decode, phases
from lab.runtime import Deployment, Event
from lab.scenario.swarm import SwarmGroup

READY_DEADLINE_S = 60.0
# The master merges and prints its records after the drain; Locust's own shutdown takes 1–3 s.
SLACK_S = 30.0
POLL_S = 0.25


class LocustDriver:
    """Drives the masters and the workers of images/CONTRACT.md: one master, or one for each named group."""

    def run(self, deployment: Deployment, trial: Trial, on_event: OnEvent) -> LoadResult:
        """See Driver. The server's death does not end it: that is a result; a lost worker or master does."""
        groups = trial.scenario.swarm.all_groups
        masters = [group.master for group in groups]
        for master in masters:
            deployment.wait_event(master, "ready", READY_DEADLINE_S)
        swarm = _SwarmMonitor(groups, on_event)
        deployment.subscribe(swarm.take)
        for master in masters:
            deployment.signal(master, "SIGUSR1")
        deadline_ms = mono_ms() + 1000 * _longest_s(trial)
        held = bool(trial.scenario.swarm.groups)
        while not swarm.done.wait(POLL_S):
            _require_alive(deployment, swarm)
            if held and swarm.all_held:
                begin(deployment.signal, masters)
                held = False
            if mono_ms() > deadline_ms:
                raise NoMeasurement(
                    f"the load did not end within {_longest_s(trial):.0f} s; its last phase was {swarm.phase}"
                )
        if swarm.error:
            raise swarm.error
        loads = {group.name: swarm.load(group.master) for group in groups}
        return merged(loads) if trial.scenario.swarm.groups else loads[""]


class SwarmNodeLost(NoMeasurement):
    """A swarm node died in the window: the trial is INVALID (exit 5), its raw data is kept."""

    exit_code = Exit.UNTRUSTED


class _SwarmMonitor:
    """Collects the masters' events, on the runtime's threads; `done` is set once nothing more counts."""

    def __init__(self, groups: Sequence[SwarmGroup], on_event: OnEvent) -> None:
        self._groups = {group.master: group for group in groups}
        self._merger = EventMerger(list(self._groups), on_event)
        self._events: dict[str, list[MasterEvent]] = defaultdict(list)
        self._held: set[str] = set()
        self._results: dict[str, SwarmResult] = {}
        self.done = threading.Event()
        self.error: LabError | None = None
        self.phase = "none"

    @property
    def all_held(self) -> bool:
        """Whether every group has its connections and waits to begin."""
        return len(self._held) == len(self._groups)

    def take(self, node: str, event: Event) -> None:
        """Take one line of a node; what is no master's, or not about the load, is left alone."""
        if node not in self._groups or self.done.is_set():
            return
        try:
            decoded = decode(event)
            if decoded is not None:
                self._keep(node, decoded)
                self._merger.take(node, decoded)
        except LabError as error:
            self.error = self.error or error
        except ValueError as error:
            what = f"{node}: its event {event['event']!r} breaks images/CONTRACT.md: {describe(error)}"
            self.error = self.error or NoMeasurement(what)
        if self.error or len(self._results) == len(self._groups):
            self.done.set()

    def load(self, master: str) -> LoadResult:
        """Return what one master measured."""
        events = self._events[master]
        seconds = tuple(event for event in events if isinstance(event, Second))
        return LoadResult(self._results[master], seconds, phases(events))

    def _keep(self, node: str, event: MasterEvent) -> None:
        self._events[node].append(event)
        if isinstance(event, PhaseStart):
            self.phase = event.phase
            if event.phase == "held":
                self._held.add(node)
        if isinstance(event, WorkerLost):
            worker = self._groups[node].node(f"worker-{event.worker_index}")
            self.error = self.error or SwarmNodeLost(f"{worker}: {event.says}")
        if isinstance(event, SwarmResult):
            self._results[node] = event


def _longest_s(trial: Trial) -> float:
    swarm = trial.scenario.swarm
    ramp = swarm.users / swarm.spawn_rate
    return ramp + swarm.connect_deadline + swarm.phases.load_s + swarm.drain + swarm.request_timeout + SLACK_S


def _require_alive(deployment: Deployment, swarm: _SwarmMonitor) -> None:
    """Raise SwarmNodeLost for a node of the swarm, or a helper of its links, that died.

    The server may die: that is a result.
    """
    for name in deployment.nodes():
        ended = None if name == "server" else deployment.exited(name)
        if ended is None or (ended.code == 0 and ended.signal is None):
            continue
        how = ended.signal or f"exit code {ended.code}"
        log = deployment.log_path(name).name
        raise SwarmNodeLost(f"{name} died ({how}) in phase {swarm.phase}; see {log}")
