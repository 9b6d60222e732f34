"""Memory per connection: what the server grew by, from before the ramp to the window, per connection."""

from __future__ import annotations

from lab.analysis.limits import SERVER
from lab.common.units import show_seconds
from lab.results.record import TrialRecord

SOURCES = {
    "memory_bytes_per_connection": ("cgroup", "memory_bytes"),
    "pss_bytes_per_connection": ("pss", "bytes"),
    "rss_bytes_per_connection": ("procfs", "rss_bytes"),
}
# The kernel books memory in batches of 64 pages a CPU (mm/memcontrol.c, MEMCG_CHARGE_BATCH), resident pages
# in smaller ones. Growth is told where a batch more or less is at most a quarter of it, or few bytes each.
BATCH_BYTES, COARSEST_SHARE, FINE_BYTES = 64 * 4096, 0.25, 512
# A change of the figure within the window by more than this, and by more than a batch, is said beside it.
STILL_SHARE = 0.05


def per_connection(
    trial: TrialRecord, connections: int | None
) -> tuple[dict[str, float | None], dict[str, str]]:
    """Each figure, or None where it cannot be told, and the marks beside them; both by figure."""
    found = {name: _grown(trial, *source, connections) for name, source in SOURCES.items()}
    if (trial.series.highest(SERVER, "procfs", "processes") or 1) > 1:
        found["rss_bytes_per_connection"] = None  # a sum would count pages that processes share in each
    marks = {}
    for name, value in found.items():
        mark = _moving(trial, *SOURCES[name]) if value is not None else None
        if value is not None and connections and _fewer_requests(trial, connections):
            mark = mark or "not every connection was used"
        if mark:
            marks[name] = mark
    return found, marks


def _grown(trial: TrialRecord, source: str, metric: str, connections: int | None) -> float | None:
    """Growth to the most seen in the window, per connection held; None where it cannot be told."""
    assert trial.load is not None
    held = trial.series.within(SERVER, source, metric, trial.load.window_ms)
    before = _before_the_ramp(trial, source, metric)
    if before is None or not held or not connections:
        return None
    grown = max(0.0, max(held) - before) / connections
    return grown if BATCH_BYTES / connections <= max(COARSEST_SHARE * grown, FINE_BYTES) else None


def _before_the_ramp(trial: TrialRecord, source: str, metric: str) -> float | None:
    """Return the last sample before the first connection; where its time is not told, the first of all."""
    assert trial.load is not None
    points = trial.series.get(SERVER, source, metric)
    starts_ms = trial.load.phases.spawn
    before = [value for t, value in points if starts_ms is not None and t <= starts_ms]
    return before[-1] if before else points[0][1] if points else None


def _moving(trial: TrialRecord, source: str, metric: str) -> str | None:
    """By how much a figure moved within the window, if it did; a load that ramps moves it by design."""
    assert trial.load is not None
    before = _before_the_ramp(trial, source, metric)
    start, end = trial.load.window_ms
    first, last = (trial.series.at(SERVER, source, metric, moment) for moment in (start, end))
    if before is None or first is None or last is None:
        return "not known whether it still moves"
    if trial.scenario.swarm.load.is_ramping:
        return None
    moved, grown = last - first, first - before
    if abs(moved) <= max(BATCH_BYTES, STILL_SHARE * grown):
        return None
    share = f"{moved / grown:+.0%}".replace("%", " %") if grown > 0 else "from nothing"
    return f"still moving: {share} in {show_seconds((end - start) / 1000)}"


def _fewer_requests(trial: TrialRecord, connections: int) -> bool:
    """Whether some connection cannot have been used. Idle ones are meant not to be."""
    assert trial.load is not None
    whole, clients = trial.load.result.whole, trial.scenario.swarm.clients
    return whole is not None and whole.sent < connections * (1 - clients.idle)
