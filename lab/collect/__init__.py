"""Collectors: one file per source, each turning a running deployment into samples.

A collector reads what is there *now*; the `Recorder` decides when: at a steady interval, and exactly at the
marks (the ends of the measured window), so that a counter's increase over the window needs no guess.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, runtime_checkable

from lab.common.clock import mono_ms
from lab.plan.topology import Topology
from lab.results.node import ProcessClass
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


INTERVAL_S = 1.0


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
    ) -> None:
        self._deployment = deployment
        self._collectors = collectors
        self._path = path
        self._on_samples = on_samples
        self._marks: list[tuple[float, bool]] = []
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

    def mark(self, at_mono_ms: float, window_opens: bool = False) -> None:
        """Sample exactly at this moment too; where the window opens, what costs the server is detached."""
        with self._changed:
            self._marks.append((at_mono_ms, window_opens))
            self._marks.sort()
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
                window_opens = any(opens for at, opens in self._marks if at <= now)
                marked = any(at <= now for at, _ in self._marks)
                self._marks = [mark for mark in self._marks if mark[0] > now]
            if now >= due:
                due = max(due + INTERVAL_S * 1000, now)
            if marked:
                self._force_samples()
            self._sample_all(now, late_ms)
            if window_opens:
                self._detach()

    def _next(self, due: float) -> float:
        return min(due, self._marks[0][0]) if self._marks else due

    def _force_samples(self) -> None:
        for collector in self._collectors:
            if isinstance(collector, Paused):
                collector.force_sample()

    def _detach(self) -> None:
        for collector in self._collectors:
            if isinstance(collector, CostsServer):
                collector.detach()

    def _sample(self, collector: Collector) -> list[Sample]:
        """Return what a collector sees; what it saw before it failed is kept."""
        samples: list[Sample] = []
        try:
            samples.extend(collector.sample())
        except (OSError, ValueError) as error:
            self._problem(f"collector {collector.source}: {error}")
        return samples

    def _problem(self, says: str) -> None:
        if says not in self.problems:
            self.problems.append(says)

    def _sample_all(self, started_ms: float, late_ms: float) -> None:
        samples: list[Sample] = []
        for collector in self._collectors:
            samples += self._sample(collector)
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

    Nodes' processes are sampled from this host; `scheduled` tells of those whose class is known.
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
        Procfs(nodes, deployment.pids),
        Pss(["server"], deployment.pids),
        Schedstat(nodes, deployment.pids),
        Orchestrator(),
        Clocks(),
        Sockets([node.name for node in topology.nodes if node.role != "master"], deployment.pids),
        HostCollector(),
        RealTimeDelay(scheduled),
    ]
    if not deployment.pids("server"):
        notes.append("the nodes' processes are not visible from here: no figures from /proc and cgroups")
        return collectors, notes
    try:
        collectors.append(Syscalls("server", deployment.pids("server")[0]))
    except OSError as error:
        notes.append(f"system calls were not counted: {error}")
    return collectors, notes
