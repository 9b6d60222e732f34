"""Collectors: one file per source, each turning a running deployment into samples.

A collector reads what is there *now*; the `Recorder` decides when: at a steady interval, and exactly at the
marks (the begin of the warm-up, both ends of the window), so that a counter's increase between two of
them needs no guess. At a mark the server is asked for a line of statistics too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, runtime_checkable

from lab.collect.marks import DueMark
from lab.common.clock import mono_ms
from lab.common.errors import LabError
from lab.plan.topology import Topology
from lab.results.node import Mark, MarkName, ProcessClass
from lab.results.record import Sample
from lab.results.store import SeriesFile
from lab.runtime import Deployment, Event


class Collector(Protocol):
    """One source. `sample` never raises for a node that has just gone: it leaves it out."""

    source: str

    def sample(self) -> Iterable[Sample]:
        """Return the source's figures of this moment."""


@runtime_checkable
class CostsServer(Protocol):
    """A collector that takes CPU time from the server: it is detached before the measured window opens."""

    def detach(self) -> None:
        """Stop collecting for good."""


@runtime_checkable
class Paused(Protocol):
    """A collector that samples less often what takes long to sample."""

    def force_sample(self) -> None:
        """Sample everything the next time: an end of the window must be sampled."""


@runtime_checkable
class ReadBesideServer(Protocol):
    """A collector whose counts are set against the server's own: sampled all the while that it is asked."""

    def sample_beside_server(self) -> Iterable[Sample]:
        """Sample as fast as possible what was seen before; nothing once it is detached."""


INTERVAL_S = 1.0
# How long a server may take to answer a request for statistics, and how often counts are read meanwhile.
ANSWER_MS, BESIDE_S = 200.0, 0.001


class Recorder:
    """Samples all collectors in one thread while it is open, and appends to series.csv.

    Server statistics and load progress arrive as events and are recorded under their own time.
    """

    def __init__(
        self,
        deployment: Deployment,
        collectors: Sequence[Collector],
        path: Path,
        notes: Sequence[str] = (),
        on_samples: Callable[[Sequence[Sample]], None] = lambda _: None,
        ask: Callable[[], None] | None = None,
    ) -> None:
        self._deployment = deployment
        self._collectors = collectors
        self._path = path
        self._on_samples = on_samples
        self._ask = ask
        self._marks: list[DueMark] = []
        self._taken: list[DueMark] = []
        self._changed = threading.Condition()
        self._stopping = False
        self.problems: list[str] = list(notes)

    def __enter__(self) -> Recorder:
        self._file = SeriesFile(self._path)
        self._deployment.subscribe(self._on_event)
        self._thread = threading.Thread(target=self._loop, name="recorder", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(timeout=10)
        self._detach()
        if self._thread.is_alive():
            self.problems.append("the recorder's thread did not end within 10 s")
            return
        with self._changed:
            self._file.close()

    @property
    def marks(self) -> tuple[Mark, ...]:
        """The marks whose moment has come, and when each source was sampled for them."""
        with self._changed:
            return tuple(mark.record() for mark in self._taken)

    def mark(self, what: MarkName, at_mono_ms: float, window_opens: bool = False) -> None:
        """Sample exactly at this moment too; where the window opens, what costs the server is detached."""
        with self._changed:
            self._marks.append(DueMark(what, at_mono_ms, window_opens))
            self._marks.sort(key=lambda mark: mark.at_ms)
            self._changed.notify()

    def _on_event(self, node: str, event: Event) -> None:
        kind = event["event"]
        if kind not in ("stats", "stopped", "progress"):
            return
        source = "load" if kind == "progress" else "server"
        rows = [
            Sample(event["mono_ms"], node, source, name, float(value))
            for name, value in event.items()
            if isinstance(value, int | float) and not isinstance(value, bool) and name != "mono_ms"
        ]
        with self._changed:
            if not self._stopping:
                self._file.append(rows)
            if "asked" in event and self._taken:
                self._taken[-1].taken.setdefault("server", event["mono_ms"])
                self._changed.notify_all()

    def _ask_server(self, ask: Callable[[], None], mark: DueMark) -> None:
        """Ask for a line, and read what is set against it until it is there: close before and after it.

        In a thread of its own, for the way to the server must not delay the other samples.
        """
        rows = self._beside_server(mark)
        try:
            ask()
        except LabError as error:
            self._problem(f"the server was not asked for statistics: {error}")
        until_ms = mono_ms() + ANSWER_MS
        while rows and not self._stopping and "server" not in mark.taken and mono_ms() < until_ms:
            rows += self._beside_server(mark)
            with self._changed:
                self._changed.wait(BESIDE_S)
        rows += self._beside_server(mark)
        with self._changed:
            if not self._stopping:
                self._file.append(rows)
        if mark.window_opens:
            self._detach()

    def _beside_server(self, mark: DueMark) -> list[Sample]:
        samples: list[Sample] = []
        for each in self._collectors:
            if isinstance(each, ReadBesideServer):
                found = self._sample(each.source, each.sample_beside_server)
                if each.source not in mark.taken:
                    mark.take(each.source, found)
                samples += found
        return samples

    def _loop(self) -> None:
        due = mono_ms()
        while True:
            with self._changed:
                while not self._stopping and (wait_ms := self._next(due) - mono_ms()) > 0:
                    self._changed.wait(wait_ms / 1000)
                if self._stopping:
                    return
                now = mono_ms()
                late_ms = max(0.0, now - self._next(due))
                marks = [mark for mark in self._marks if mark.at_ms <= now]
                self._marks = self._marks[len(marks) :]
                self._taken += marks
            if now >= due:
                due = max(due + INTERVAL_S * 1000, now)
            if marks:
                self._force_samples()
            if self._ask is not None:
                for mark in marks:
                    threading.Thread(target=self._ask_server, args=(self._ask, mark), daemon=True).start()
            self._sample_all(now, late_ms, marks)
            if self._ask is None and any(mark.window_opens for mark in marks):
                self._detach()

    def _next(self, due: float) -> float:
        return min(due, self._marks[0].at_ms) if self._marks else due

    def _force_samples(self) -> None:
        for collector in self._collectors:
            if isinstance(collector, Paused):
                collector.force_sample()

    def _detach(self) -> None:
        for collector in self._collectors:
            if isinstance(collector, CostsServer):
                collector.detach()

    def _sample(self, source: str, sample: Callable[[], Iterable[Sample]]) -> list[Sample]:
        """Return what a collector sees; what it saw before it failed is kept."""
        samples: list[Sample] = []
        try:
            samples.extend(sample())
        except (OSError, ValueError) as error:
            self._problem(f"collector {source}: {error}")
        return samples

    def _problem(self, says: str) -> None:
        if says not in self.problems:
            self.problems.append(says)

    def _sample_all(self, started_ms: float, late_ms: float, marks: Sequence[DueMark]) -> None:
        samples: list[Sample] = []
        for collector in self._collectors:
            found = self._sample(collector.source, collector.sample)
            for mark in marks:
                mark.take(collector.source, found)
            samples += found
        samples.append(Sample(started_ms, "lab", "recorder", "took_ms", mono_ms() - started_ms))
        samples.append(Sample(started_ms, "lab", "recorder", "late_ms", late_ms))
        self._on_samples(samples)
        with self._changed:
            if not self._stopping:
                self._file.append(samples)


def for_trial(
    deployment: Deployment, topology: Topology, scheduled: Callable[[], list[ProcessClass]]
) -> tuple[list[Collector], list[str]]:
    """Return the collectors that this deployment can feed, and what cannot be collected here and why.

    Nodes' processes are sampled from this host; `scheduled` tells of those whose class is known. Those whose
    moment matters most, and take the least, come first; the last two walk over all threads and all mappings.
    """
    from lab.collect.cgroup import Cgroup
    from lab.collect.clocks import Clocks
    from lab.collect.host import HostCollector
    from lab.collect.orchestrator import Orchestrator
    from lab.collect.procfs import Procfs
    from lab.collect.pss import Pss
    from lab.collect.realtime import RealTimeDelay
    from lab.collect.schedstat import Schedstat
    from lab.collect.sockets import Sockets
    from lab.collect.syscalls import Syscalls

    nodes = [node.name for node in topology.nodes]
    notes: list[str] = []
    collectors: list[Collector] = [
        Cgroup(deployment.nodes, deployment.cgroup),
        HostCollector(),
        Schedstat(nodes, deployment.pids),
        Sockets([node.name for node in topology.nodes if node.role != "master"], deployment.pids),
        Orchestrator(),
        Clocks(),
        RealTimeDelay(scheduled),
        Procfs(nodes, deployment.pids),
        Pss(["server"], deployment.pids),
    ]
    if not deployment.pids("server"):
        notes.append("the nodes' processes are not visible from here: no figures from /proc and cgroups")
        return collectors, notes
    try:
        collectors.insert(0, Syscalls("server", deployment.pids("server")[0]))
    except OSError as error:
        notes.append(f"system calls were not counted: {error}")
    return collectors, notes
