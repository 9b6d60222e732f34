"""A record in the making, and the figures of the moment for whoever watches it being made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from lab.collect import Recorder
from lab.plan.capacity import Placement
from lab.plan.plan import Trial
from lab.results.link import LinkRecord
from lab.results.record import LoadResult, Sample, TrialRecord
from lab.run.timeline import Timeline
from lab.runtime import Deployment

LAST_LINES = 50


class LinkRecords(Protocol):
    """Links that can tell what became of them."""

    def records(self) -> Sequence[LinkRecord]:
        """Return the record of every link so far."""


class Draft:
    """A record in the making: whatever is known when a trial ends, however it ends."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.runtime = ""
        self.stamps: tuple[str, ...] = ()
        self.ready: Mapping[str, Any] = {}
        self.verify: list[Mapping[str, Any]] = []
        self.links: LinkRecords | None = None
        self.timeline: Timeline | None = None
        self.recorder: Recorder | None = None
        self.load: LoadResult | None = None
        self.stats: tuple[Mapping[str, Any], ...] = ()
        self.exits: dict[str, dict[str, Any]] = {}
        self.server_stopped = False
        self.last_lines: dict[str, list[str]] = {}
        self.calibration: Mapping[str, Any] = {}
        self.reason: str | None = None
        self.exit_code = 0
        self.aborted: Mapping[str, Any] | None = None

    def fail(self, reason: str, exit_code: int) -> None:
        """The trial did not come to its end."""
        self.reason, self.exit_code = reason, int(exit_code)

    def keep_what_ended(self, deployment: Deployment) -> None:
        """Just before the nodes are removed: its statistics, how nodes ended, last words."""
        self.stats = tuple(e for e in deployment.events("server") if e.get("event") in ("stats", "stopped"))
        swarm = self.trial.scenario.swarm
        for node in ["server", *(part.master for part in swarm.parts), *swarm.worker_nodes]:
            ended = deployment.exited(node)
            if ended is None:
                continue
            self.exits[node] = asdict(ended)
            if node == "server":
                self.exits[node] |= {"early": not self.server_stopped}
            if ended.code != 0 or ended.signal:
                self.last_lines[node] = _tail(deployment.log_path(node))

    def record(self, placement: Placement) -> TrialRecord:
        """The record as far as it goes."""
        trial = self.trial
        return TrialRecord(
            id=trial.id,
            server=trial.server,
            repeat=trial.repeat,
            point=dict(trial.point),
            status="ok" if self.reason is None else "failed",
            reason=self.reason,
            exit_code=self.exit_code,
            scenario=trial.scenario.model_dump(mode="json"),
            model=trial.scenario.servers[trial.server].model,
            runtime=self.runtime,
            stamps=self.stamps,
            placement=asdict(placement),
            ready=dict(self.ready),
            verify=tuple(self.verify),
            load=self.load,
            server_stats=self.stats,
            links=tuple(self.links.records()) if self.links else (),
            events=tuple(self.timeline.records()) if self.timeline else (),
            exits=self.exits,
            warnings=tuple(self.recorder.problems) if self.recorder else (),
            last_lines=self.last_lines,
            calibration=dict(self.calibration),
            aborted=self.aborted,
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
