"""What several masters told, as if one had: sums of counts, exact sums of histograms. Pure.

The shapes are those of images/CONTRACT.md: `result`, `second`, `progress`. A quantile cannot be merged: of
those that came without their histogram the worst stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hdrh.histogram import HdrHistogram

from lab.common.errors import NoMeasurement
from lab.results.record import LoadResult

Told = Mapping[str, Any]
LOWEST_US, HIGHEST_US, DIGITS = 1, 600_000_000, 3
SAME = ("event", "k", "phase", "mono_ms")
WORST = ("late_p99_us", "loop_lag_p99_us", "response_p50_ms", "response_p99_ms", "last_mono_ms")
FIRST = ("example",)


def merged(groups: Mapping[str, LoadResult]) -> LoadResult:
    """One LoadResult of several groups' that ran at the same time; it keeps the groups' own.

    Raises NoMeasurement where their windows are not the same.
    """
    windows = {name: load.window_ms for name, load in groups.items()}
    if len(set(windows.values())) > 1:
        raise NoMeasurement(f"the swarm's groups were not measured at the same time: {windows}")
    results = [_with_nodes(name, load.result) for name, load in groups.items()]
    phases = [load.phases for load in groups.values()]
    return LoadResult(
        result=total(results) | {"window_mono_ms": results[0]["window_mono_ms"]},
        seconds=tuple(total(same) for same in zip(*(load.seconds for load in groups.values()), strict=True)),
        phases={name: max(one[name] for one in phases) for name in phases[0]},
        groups=dict(groups),
    )


def total(parts: Sequence[Told]) -> dict[str, Any]:
    """Several records of one shape added up, key by key. A key that only some have counts for those."""
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: _one(name, [part[name] for part in parts if name in part]) for name in names}


def add_histograms(texts: Sequence[str]) -> str:
    """HdrHistograms in their base64 form, slot by slot: exact, since all have the same slots."""
    whole = HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS)
    for text in texts:
        whole.decode_and_add(text)
    return str(whole.encode().decode("ascii"))


def _one(name: str, values: Sequence[Any]) -> Any:
    known = [value for value in values if value is not None]
    if not known or name in SAME or name in FIRST:
        return values[0]
    if name == "timing":
        return known[0] if all(value == known[0] for value in known) else {"source": "several"}
    if name in WORST:
        return max(known)
    if name == "first_mono_ms":
        return min(known)
    if name.endswith("_hdr") and isinstance(known[0], str):
        return add_histograms(known)
    if name == "parts_hdr":
        return {part: add_histograms([v[part] for v in known if part in v]) for v in known for part in v}
    if isinstance(known[0], Mapping):
        return total(known)
    if isinstance(known[0], list | tuple):
        return [item for value in known for item in value]
    return sum(known)


def _with_nodes(group: str, result: Told) -> dict[str, Any]:
    """The result, whose workers tell which node they are: their index counts within the group only."""
    workers = [{"node": f"{group}-worker-{one['index']}", **one} for one in result["workers"]]
    return {**result, "workers": workers}
