"""The record of a trial while it runs, and the figures of this moment for whoever watches it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from lab.collect import Recorder
from lab.plan.capacity import Placement
from lab.plan.plan import Trial
from lab.results.base import describe
from lab.results.link import LinkRecord
from lab.results.load import LoadResult
from lab.results.node import (
    Aborted,
    Calibration,
    CpuPlacement,
    CpuSet,
    NodeEnd,
    ServerReady,
    ServerStats,
    Verification,
)
from lab.results.record import Sample, TrialRecord
from lab.run.real_time import RealTime
from lab.run.timeline import Timeline
from lab.runtime import Deployment, Event

LAST_LINES = 50


class LinkRecords(Protocol):
    """Links that can tell what became of them."""

    def records(self) -> Sequence[LinkRecord]:
        """Return the record of every link so far."""


class RecordBuilder:
    """Collects what a trial's record will hold: whatever is known when the trial ends, however it ends."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.runtime = ""
        self.stamps: tuple[str, ...] = ()
        self.ready: ServerReady | None = None
        self.cpu_sets: list[CpuSet] = []
        self.verify: list[Verification] = []
        self.links: LinkRecords | None = None
        self.timeline: Timeline | None = None
        self.recorder: Recorder | None = None
        self.real_time: RealTime | None = None
        self.load: LoadResult | None = None
        self.stats: tuple[ServerStats, ...] = ()
        self.exits: dict[str, NodeEnd] = {}
        self.server_stopped = False
        self.last_lines: dict[str, list[str]] = {}
        self.calibration: Calibration | None = None
        self.warnings: list[str] = []
        self.reason: str | None = None
        self.exit_code = 0
        self.aborted: Aborted | None = None

    def fail(self, reason: str, exit_code: int) -> None:
        """Note why the trial did not come to its end."""
        self.reason, self.exit_code = reason, int(exit_code)

    def collect_ends(self, deployment: Deployment) -> None:
        """Just before the nodes are removed: the server's statistics, how nodes ended, their last lines."""
        self.stats = self._server_stats(deployment.events("server"))
        swarm = self.trial.scenario.swarm
        for node in ["server", *(group.master for group in swarm.all_groups), *swarm.worker_nodes]:
            ended = deployment.exited(node)
            if ended is None:
                continue
            early = not self.server_stopped if node == "server" else None
            self.exits[node] = NodeEnd(code=ended.code, signal=ended.signal, oom=ended.oom, early=early)
            if ended.code != 0 or ended.signal:
                self.last_lines[node] = _tail(deployment.log_path(node))

    def _server_stats(self, events: Iterable[Event]) -> tuple[ServerStats, ...]:
        """Return the lines of statistics; a server that prints others than the contract's is noted once."""
        found: list[ServerStats] = []
        for event in events:
            if event["event"] not in ("stats", "stopped"):
                continue
            try:
                found.append(ServerStats.model_validate(event))
            except ValueError as error:
                warning = f"the server's statistics break images/CONTRACT.md: {describe(error)}"
                if warning not in self.warnings:
                    self.warnings.append(warning)
        return tuple(found)

    def record(self, placement: Placement) -> TrialRecord:
        """Return the record as far as it goes."""
        trial = self.trial
        return TrialRecord(
            id=trial.id,
            server=trial.server,
            repeat=trial.repeat,
            point=dict(trial.point),
            status="ok" if self.reason is None else "failed",
            reason=self.reason,
            exit_code=self.exit_code,
            scenario=trial.scenario,
            model=trial.scenario.servers[trial.server].model,
            runtime=self.runtime,
            stamps=(*self.stamps, *(self.real_time.stamps() if self.real_time else ())),
            placement=CpuPlacement(**vars(placement)),
            cpu_sets=tuple(self.cpu_sets),
            ready=self.ready,
            verify=tuple(self.verify),
            load=self.load,
            server_stats=self.stats,
            links=tuple(self.links.records()) if self.links else (),
            events=tuple(self.timeline.records()) if self.timeline else (),
            exits=self.exits,
            warnings=(*self.warnings, *(self.recorder.problems if self.recorder else ())),
            last_lines=self.last_lines,
            calibration=self.calibration,
            aborted=self.aborted,
            marks=self.recorder.marks if self.recorder else (),
            scheduling=tuple(self.real_time.processes()) if self.real_time else None,
        )


MEMORY = {"cgroup": "memory_bytes", "procfs": "rss_bytes"}


class Gauges:
    """The server's CPU and memory of this moment, out of the samples, for whoever watches.

    The cgroup's where it has one of its own, else those of its processes.
    """

    def __init__(self, gauge: Callable[[str, float], None]) -> None:
        self._gauge = gauge
        self._cpu: dict[str, Sample] = {}
        self._grouped = False

    def __call__(self, samples: Sequence[Sample]) -> None:
        """Take what a collector has just sampled."""
        for sample in samples:
            if sample.node != "server" or sample.source not in MEMORY:
                continue
            self._grouped |= sample.source == "cgroup"
            if sample.source == "procfs" and self._grouped:
                continue
            if sample.metric == MEMORY[sample.source]:
                self._gauge("server_memory_bytes", sample.value)
            if sample.metric == "cpu_us":
                self._cores(sample)

    def _cores(self, sample: Sample) -> None:
        last = self._cpu.get(sample.source)
        if last and sample.mono_ms > last.mono_ms:
            grown_us = sample.value - last.value
            self._gauge("server_cpu_cores", grown_us / 1000 / (sample.mono_ms - last.mono_ms))
        self._cpu[sample.source] = sample


def _tail(path: Path) -> list[str]:
    if not path.exists():
        return []
    return path.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
