"""What several masters told, as if one had: sums of counts, exact sums of histograms. Pure.

A quantile cannot be merged: of those that came without their histogram the worst stands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from hdrh.histogram import HdrHistogram

from lab.common.errors import NoMeasurement
from lab.results.base import RecordModel
from lab.results.load import LoadResult, Phases, Second, SwarmResult, Timing

R = TypeVar("R", bound=RecordModel)
LOWEST_US, HIGHEST_US, DIGITS = 1, 600_000_000, 3

# Every field of a record that is merged stands in exactly one of these tables; one that stands in none is
# refused (TypeError). A value that a master did not tell is left out; where none told it, it stays None.
ADDED = frozenset({
    "intended", "sent", "answered", "failed", "unsent", "connects", "bytes_in", "bytes_out", "under_way_s",
    "connected", "connected_peak", "users", "requests_per_s", "cpu_cores", "lost_s", "workers",
    "errors", "count", "locust", "requests", "failures", "slow", "ended", "whole", "window",
    "response_hdr", "service_hdr", "lateness_hdr", "lateness_generator_hdr", "connect_ms_hdr", "parts_hdr",
    "response_censored_hdr", "service_censored_hdr",
})  # fmt: skip
# Added where every master told it; else the sum is unknown.
ADDED_WHOLE = frozenset({
    "completed", "in_flight", "in_flight_start", "in_flight_end", "queued", "queued_start", "queued_end",
    "in_flight_area_s", "in_flight_parts_s",
})  # fmt: skip
EXTREME: Mapping[str, Callable[[Sequence[Any]], Any]] = {
    "late_p99_us": max,
    "loop_lag_p99_us": max,
    "response_p50_ms": max,
    "response_p99_ms": max,
    "first_mono_ms": min,
    "last_mono_ms": max,
}
TENTHS = frozenset({"backlog_tenths", "connected_tenths"})  # added place by place; a gap of one is a gap
FIRST = frozenset({"event", "k", "phase", "mono_ms", "window_mono_ms", "example", "timing"})


def merged(groups: Mapping[str, LoadResult]) -> LoadResult:
    """Merge what several groups measured at the same time; the groups' own results are kept beside it.

    Raises NoMeasurement where their windows are not the same.
    """
    windows = {name: load.window_ms for name, load in groups.items()}
    if len(set(windows.values())) > 1:
        raise NoMeasurement(f"the swarm's groups were not measured at the same time: {windows}")
    results = [_with_nodes(name, load.result) for name, load in groups.items()]
    each = [load.phases.begun for load in groups.values()]
    return LoadResult(
        result=total(results).model_copy(update=_timing(results)),
        seconds=tuple(map(total, _same_seconds([load.seconds for load in groups.values()]))),
        phases=Phases(**{name: max(one[name] for one in each) for name in each[0]}),
        groups=dict(groups),
    )


def _same_seconds(groups: Sequence[Sequence[Second]]) -> Sequence[Sequence[Second]]:
    """Return each second as its groups told it; one that a group did not tell is missed by its counts."""
    told: dict[tuple[int, str], list[Second]] = {}
    for second in (second for seconds in groups for second in seconds):
        told.setdefault((second.k, second.phase), []).append(second)
    return [told[key] for key in sorted(told, key=lambda key: (key[0], key[1] == "measure"))]


def total(records: Sequence[R]) -> R:
    """Merge records of one kind, field by field. Raises TypeError for a field in none of the tables."""
    told = {name for one in records for name in one.model_fields_set}
    names = [name for name in type(records[0]).model_fields if name in told]
    values = {name: _merge(name, [getattr(one, name) for one in records]) for name in names}
    return type(records[0])(**values)


def add_histograms(texts: Sequence[str]) -> str:
    """Add HdrHistograms in their base64 form, slot by slot: exact, since all have the same slots."""
    sum_ = HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS)
    for text in texts:
        sum_.decode_and_add(text)
    return str(sum_.encode().decode("ascii"))


def _merge(name: str, values: Sequence[Any]) -> Any:
    told = [value for value in values if value is not None]
    if name in FIRST:
        return values[0]
    if name in EXTREME:
        return EXTREME[name](told) if told else None
    if name in TENTHS:
        return tuple(None if None in place else sum(place) for place in zip(*values, strict=False))
    if name in ADDED_WHOLE and None in values:
        return None
    if name in ADDED or name in ADDED_WHOLE:
        return _add(told) if told else None
    raise TypeError(f"{name}: no table says how it is merged")


def _add(values: Sequence[Any]) -> Any:
    """Add numbers, histograms, records and maps; tuples are joined."""
    first = values[0]
    if isinstance(first, str):
        return add_histograms(values)
    if isinstance(first, RecordModel):
        return total(values)
    if isinstance(first, Mapping):
        keys = dict.fromkeys(key for value in values for key in value)
        return {key: _add([value[key] for value in values if key in value]) for key in keys}
    if isinstance(first, tuple):
        return tuple(item for value in values for item in value)
    return sum(values)


def _timing(results: Sequence[SwarmResult]) -> dict[str, Timing]:
    """Where the groups differ in where their times come from, the sum says so; each group has its own."""
    told = {result.timing for result in results} - {None}
    return {"timing": Timing(source="several")} if len(told) > 1 else {}


def _with_nodes(group: str, result: SwarmResult) -> SwarmResult:
    """Return the result, whose workers tell which node they are: their index counts within the group only."""
    workers = tuple(
        worker.model_copy(update={"node": f"{group}-worker-{worker.index}"}) for worker in result.workers
    )
    return result.model_copy(update={"workers": workers})
