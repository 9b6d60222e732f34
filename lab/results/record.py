"""What is kept of a trial: raw, complete, and enough to rebuild every report without Docker."""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, NamedTuple

from pydantic import ConfigDict, SkipValidation, TypeAdapter, model_validator
from pydantic.dataclasses import dataclass as checked_dataclass

from lab.common.trial_key import TrialKey
from lab.results.base import Count, Point, Whole
from lab.results.link import LinkRecord
from lab.results.load import LoadResult
from lab.results.manifest import Manifest, Repeated
from lab.results.node import (
    Aborted,
    Calibration,
    CpuPlacement,
    CpuSet,
    Mark,
    MarkName,
    NodeEnd,
    ProcessClass,
    ServerReady,
    ServerStats,
    TimedEvent,
    Verification,
)
from lab.results.upgrade import SCHEMA_VERSION, upgrade
from lab.scenario.scenario import Scenario, Server


class Sample(NamedTuple):
    """One figure at one moment. `source` is the collector, `node` what it is about ("host": this host)."""

    mono_ms: float
    node: str
    source: str
    metric: str
    value: float


@dataclass
class Series:
    """Samples of one trial, by (node, source, metric), in time order."""

    points: dict[tuple[str, str, str], list[tuple[float, float]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    @classmethod
    def of(cls, samples: Iterable[Sample]) -> Series:
        """Group samples; those of one metric are sorted by time."""
        series = cls()
        for sample in samples:
            series.points[(sample.node, sample.source, sample.metric)].append((sample.mono_ms, sample.value))
        for points in series.points.values():
            points.sort()
        return series

    def get(self, node: str, source: str, metric: str) -> list[tuple[float, float]]:
        """(mono_ms, value) pairs; empty where nothing was collected."""
        return self.points.get((node, source, metric), [])

    def at(self, node: str, source: str, metric: str, mono_ms: float) -> float | None:
        """Return a counter at a moment, interpolated; None outside what was sampled (1 s of grace)."""
        points = self.get(node, source, metric)
        if not points or mono_ms < points[0][0] - 1000 or mono_ms > points[-1][0] + 1000:
            return None
        index = bisect.bisect_left(points, (mono_ms, float("-inf")))
        if index == 0:
            return points[0][1]
        if index == len(points):
            return points[-1][1]
        (t0, v0), (t1, v1) = points[index - 1], points[index]
        return v0 + (v1 - v0) * (mono_ms - t0) / (t1 - t0)

    def increase(self, node: str, source: str, metric: str, window_ms: tuple[float, float]) -> float | None:
        """How much a counter grew within a window; None where either end is not covered."""
        start = self.at(node, source, metric, window_ms[0])
        end = self.at(node, source, metric, window_ms[1])
        return None if start is None or end is None else end - start

    def gap_ms(self, node: str, source: str, metric: str, mono_ms: float) -> float:
        """Return how far the samples before and after a moment are apart; infinity where one is missing."""
        points = self.get(node, source, metric)
        index = bisect.bisect_left(points, (mono_ms, float("-inf")))
        if index < len(points) and points[index][0] == mono_ms:
            return 0.0
        return points[index][0] - points[index - 1][0] if 0 < index < len(points) else float("inf")

    def growth(self, node: str, source: str, metric: str) -> float | None:
        """Return the last sample of a counter less the first; None for fewer than two."""
        points = self.get(node, source, metric)
        return points[-1][1] - points[0][1] if len(points) > 1 else None

    def within(self, node: str, source: str, metric: str, window_ms: tuple[float, float]) -> list[float]:
        """Return the values of a gauge within a window."""
        return [v for t, v in self.get(node, source, metric) if window_ms[0] <= t <= window_ms[1]]

    def highest(self, node: str, source: str, metric: str) -> float | None:
        """Return the largest value ever seen, or None."""
        return max((value for _, value in self.get(node, source, metric)), default=None)


@checked_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class TrialRecord:
    """One trial as it happened. `status` is ok when a measurement came about; belief is judged later.

    What a trial that failed never came to is None or empty. `placement` tells on which CPUs its nodes ran,
    `scheduling` in which class; it is None in records of earlier versions.
    """

    id: str
    server: str
    repeat: Count
    point: Point
    status: Literal["ok", "failed"]
    scenario: Scenario
    reason: str | None = None
    exit_code: Whole = 0
    model: str | None = None
    runtime: str = ""
    stamps: tuple[str, ...] = ()
    placement: CpuPlacement | None = None
    cpu_sets: tuple[CpuSet, ...] = ()
    ready: ServerReady | None = None
    verify: tuple[Verification, ...] = ()
    load: LoadResult | None = None
    server_stats: tuple[ServerStats, ...] = ()
    links: tuple[LinkRecord, ...] = ()
    events: tuple[TimedEvent, ...] = ()
    exits: Mapping[str, NodeEnd] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    last_lines: Mapping[str, list[str]] = field(default_factory=dict)
    calibration: Calibration | None = None
    aborted: Aborted | None = None
    marks: tuple[Mark, ...] = ()
    scheduling: tuple[ProcessClass, ...] | None = None
    series: SkipValidation[Series] = field(default_factory=Series)

    @model_validator(mode="after")
    def _refers(self) -> TrialRecord:
        """Its id names its server and its repeat; its scenario has that server. Raises ValueError."""
        key = self.key
        if self.server not in self.scenario.servers:
            raise ValueError(f"{self.server} is no server of its scenario")
        if (key.server, key.repeat) != (self.server, self.repeat):
            raise ValueError(f"{self.id} is not the id of {self.server}, repeat {self.repeat}")
        return self

    @property
    def key(self) -> TrialKey:
        """Which trial it is."""
        return TrialKey.parse(self.id)

    @property
    def settings(self) -> Server:
        """The server's part of the scenario."""
        return self.scenario.servers[self.server]

    def taken_ms(self, mark: MarkName, source: str) -> float | None:
        """Return when a source was sampled for a mark; None where it was not, or the record has no marks."""
        return next((one.taken_mono_ms.get(source) for one in self.marks if one.what == mark), None)

    def to_json(self) -> dict[str, Any]:
        """Plain data for record.json; the series live beside it in series.csv."""
        whole = ("scenario", "links")  # with all their defaults: they say what was asked
        told = _adapter().dump_python(self, mode="json", exclude={"series", *whole}, exclude_unset=True)
        told["scenario"] = self.scenario.model_dump(mode="json")
        told["links"] = [link.model_dump(mode="json") for link in self.links]
        return {"schema_version": SCHEMA_VERSION, **told}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], series: Series) -> TrialRecord:
        """Reverse `to_json`, for records of every version. Raises ValueError for what is none."""
        record = upgrade(data)
        del record["schema_version"]
        return _adapter().validate_python({**record, "series": series})


@cache
def _adapter() -> TypeAdapter[TrialRecord]:
    return TypeAdapter(TrialRecord)


class Damage(NamedTuple):
    """A file of a trial that could not be read, in whole or in part; the rest of the run is complete.

    `lost`: the trial has no record, so it is left out.
    """

    trial: str
    says: str
    lost: bool = True


@checked_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Run:
    """All records of a run, with its manifest: the only input of everything that judges and reports."""

    manifest: Manifest
    trials: tuple[TrialRecord, ...]
    damaged: tuple[Damage, ...] = ()
    repeated: tuple[Repeated, ...] = ()

    @property
    def id(self) -> str:
        """The run's id: its folder's name."""
        return self.manifest.run

    @property
    def scenario(self) -> str:
        """The scenario's name."""
        return self.manifest.scenario

    @property
    def question(self) -> str:
        """What the scenario asks."""
        return self.manifest.question

    @property
    def interrupted(self) -> bool:
        """Whether it was interrupted before its last trial."""
        return self.manifest.interrupted
