"""Runs the scenario's timed events on the clock of the measurement, and records when each was done."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from lab.common.clock import mono_ms
from lab.common.errors import LabError, NoMeasurement
from lab.plan.plan import Trial
from lab.results.node import TimedEvent
from lab.runtime import Deployment
from lab.scenario.event import Event, link_changes
from lab.scenario.link import LinkSpec

# A link change is sent to its helper this long before it is due; the helper makes it on time.
AHEAD_MS = 700.0
# What a node is sent (images/CONTRACT.md).
SIGNALS = {"kill": "SIGKILL", "restart": "SIGUSR1"}


class ChangesLinks(Protocol):
    """Links in force that can be changed (lab/impair)."""

    def change_link(self, endpoints: tuple[str, str], to: LinkSpec, at_mono_ms: float) -> float:
        """Change a link at that moment; returns when it really was, on CLOCK_MONOTONIC in milliseconds."""


class Clock:
    """CLOCK_MONOTONIC, and how to wait on it."""

    def now_ms(self) -> float:
        """Return milliseconds since boot."""
        return mono_ms()

    def wait(self, stop: threading.Event, timeout_s: float) -> bool:
        """Wait that long, or until `stop` is set; tell whether it is."""
        return stop.wait(timeout_s)


@dataclass(frozen=True)
class _Due:
    at_s: float
    ahead_ms: float
    what: str
    target: str
    act: Callable[[float], float]


class Timeline:
    """The events of one trial. `begin(start)` once the window's beginning is known; ends with the `with`."""

    def __init__(
        self,
        trial: Trial,
        deployment: Deployment,
        links: ChangesLinks,
        say: Callable[[str], None] = lambda _: None,
        clock: Clock | None = None,
    ) -> None:
        self._say, self._clock = say, clock or Clock()
        due = _all_due(trial, deployment, links, self._clock)
        self._due = sorted(due, key=lambda one: one.at_s * 1000 - one.ahead_ms)
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._happened: list[TimedEvent] = []

    def __enter__(self) -> Timeline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=10)

    def begin(self, start_mono_ms: float) -> None:
        """Begin the measured window then. Each event has a thread: a slow one delays no other."""
        for due in self._due:
            wanted = start_mono_ms + due.at_s * 1000
            thread = threading.Thread(
                target=self._one, args=(due, wanted), name=f"event {due.what}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def _one(self, due: _Due, wanted_ms: float) -> None:
        while (left_ms := wanted_ms - due.ahead_ms - self._clock.now_ms()) > 0:
            if self._clock.wait(self._stop, left_ms / 1000):
                return
        try:
            actual_ms, failure = due.act(wanted_ms), None
        except LabError as error:
            actual_ms, failure = None, str(error)
        done = TimedEvent(
            what=due.what,
            target=due.target,
            wanted_mono_ms=wanted_ms,
            actual_mono_ms=actual_ms,
            error=failure,
        )
        with self._lock:
            self._happened.append(done)
        failed = f", which failed: {done.error}" if done.error else ""
        self._say(f"event at {due.at_s:g} s: {due.what} {due.target}{failed}")

    def killed(self, node: str) -> bool:
        """Whether an event has killed the node."""
        with self._lock:
            return any(event.what == "kill" and event.target == node for event in self._happened)

    def records(self) -> list[TimedEvent]:
        """Return what happened, in the order of its time."""
        with self._lock:
            return sorted(self._happened, key=lambda event: event.wanted_mono_ms)


def _all_due(trial: Trial, deployment: Deployment, links: ChangesLinks, clock: Clock) -> list[_Due]:
    due: list[_Due] = []
    specs = {spec.endpoints: spec for spec in trial.scenario.links}
    for event in trial.scenario.events:
        if event.endpoints is not None:
            due += _link_due(event, specs[event.endpoints], links)
        elif (node := _node(event, trial)) is not None:
            due += _node_due(event, node, deployment, clock)
    return due


def _node(event: Event, trial: Trial) -> str | None:
    """Return the node of this trial that the event is about; None when it is about another trial's server."""
    if event.node in trial.scenario.servers:
        return "server" if event.node == trial.server else None
    return event.node


def _link_due(event: Event, spec: LinkSpec, links: ChangesLinks) -> Sequence[_Due]:
    def change(to: LinkSpec) -> Callable[[float], float]:
        return lambda wanted_ms: links.change_link(spec.endpoints, to, wanted_ms)

    name = " – ".join(spec.endpoints)
    return [_Due(at, AHEAD_MS, event.action, name, change(to)) for at, to in link_changes(spec, event)]


def _node_due(event: Event, node: str, deployment: Deployment, clock: Clock) -> Sequence[_Due]:
    def now(action: Callable[[], None]) -> Callable[[float], float]:
        def act(_: float) -> float:
            action()
            return clock.now_ms()

        return act

    if event.action == "pause":
        return [
            _Due(event.at, 0.0, "pause", node, now(lambda: deployment.pause(node))),
            _Due(event.ends_s, 0.0, "unpause", node, now(lambda: deployment.unpause(node))),
        ]
    if event.action in SIGNALS:
        name = SIGNALS[event.action]
        return [_Due(event.at, 0.0, event.action, node, now(lambda: deployment.signal(node, name)))]
    limit = _Limit(event, node, deployment)
    due = [_Due(event.at, 0.0, "limit", node, now(limit.begin))]
    return (
        due
        if event.duration is None
        else [*due, _Due(event.ends_s, 0.0, "restore limit", node, now(limit.end))]
    )


class _Limit:
    """A limit of a node for a time: what it changes is restored at its end."""

    def __init__(self, event: Event, node: str, deployment: Deployment) -> None:
        self._event, self._node, self._deployment = event, node, deployment
        self._restore: Callable[[], None] | None = None

    def begin(self) -> None:
        """Set the limit. Raises LabError where that fails."""
        self._restore = self._deployment.limit(self._node, self._event.cpus, self._event.memory)

    def end(self) -> None:
        """Restore the former limit. Raises LabError where there was none to restore."""
        if self._restore is None:
            raise NoMeasurement("the limit was not set, so there is none to restore")
        self._restore()
