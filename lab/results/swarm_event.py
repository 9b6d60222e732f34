"""What a master tells while the load runs, decoded: who follows a load asks attributes, not keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from lab.results.base import Count, Number, RecordModel
from lab.results.load import Phases, Second, SwarmResult, Totals


class PhaseStart(RecordModel):
    """A phase begins at `starts_mono_ms`, which may be just ahead."""

    event: Literal["phase"] = "phase"
    mono_ms: Number | None = None
    phase: Literal["spawn", "held", "warmup", "measure", "cooldown", "drain", "done"]
    starts_mono_ms: Number


class Progress(RecordModel):
    """Once a second: totals so far, gauges, and the last second's rate and response times.

    `window`: the sums over what has ended of the measured window, where they were asked for.
    """

    event: Literal["progress"] = "progress"
    mono_ms: Number
    phase: str
    users: Count
    connected: Count
    sent: Count
    answered: Count
    failed: Count
    in_flight: Count
    requests_per_s: Number
    response_p50_ms: Number | None = None
    response_p99_ms: Number | None = None
    window: Totals | None = None


class WorkerLost(RecordModel):
    """A worker is gone: the load is void and ends."""

    event: Literal["worker_lost"] = "worker_lost"
    mono_ms: Number | None = None
    worker_index: Count
    says: str


LoadEvent = PhaseStart | Progress | WorkerLost
MasterEvent = LoadEvent | Second | SwarmResult
_KINDS: dict[str, type[MasterEvent]] = {
    "phase": PhaseStart,
    "progress": Progress,
    "worker_lost": WorkerLost,
    "second": Second,
    "result": SwarmResult,
}


def decode(event: Mapping[str, Any]) -> MasterEvent | None:
    """Decode an event of a master; None for what is not about the load. Raises ValueError."""
    kind = _KINDS.get(str(event["event"])) if "event" in event else None
    return kind.model_validate(event) if kind else None


def phases(events: list[MasterEvent]) -> Phases:
    """When each phase began, of the events that tell it."""
    return Phases.model_validate(
        {event.phase: event.starts_mono_ms for event in events if isinstance(event, PhaseStart)}
    )
