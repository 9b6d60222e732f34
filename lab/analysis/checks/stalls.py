"""Checks of the time that was lost in stalls of over 5 ms; a stall counts with its whole length."""

from __future__ import annotations

from collections.abc import Iterable

from lab.analysis.checks.trial_view import NoData, Result, TrialView, graded
from lab.common.units import show_percent
from lab.results.load import LoadResult
from lab.results.record import TrialRecord

LATE = ("lab", "recorder", "late_ms")  # by how much each round of samples began late
STALL_MS = 5.0  # as of the engines (images/swarm/engine.py)


def generator_stalls(view: TrialView) -> Iterable[Result]:
    """Share of the window that an engine lost in stalls of over 5 ms, each with its whole length."""
    share = engine_share(view.load)
    if share is None:
        raise NoData("the time that the engines lost in stalls was not recorded")
    return graded(
        "generator_stalls",
        share,
        f"in stalls of over 5 ms an engine of the swarm lost {show_percent(share)} of its time",
        "stop other processes on this host, or measure again: each engine needs a CPU when it has work",
        ": it sent and read late",
    )


def sampler_stalls(view: TrialView) -> Iterable[Result]:
    """Share of the window by which samples began over 5 ms late: the sampler reads counters late then."""
    share = sampler_share(view.trial)
    if share is None:
        raise NoData("how late samples began was not recorded")
    return graded(
        "sampler_stalls",
        share,
        f"in stalls of over 5 ms the sampler lost {show_percent(share)} of the window",
        "stop other processes on this host: counters were read late",
    )


def engine_share(load: LoadResult) -> float | None:
    """Return the share of the window that the worst engine lost; None where it was not recorded."""
    seconds = [second.lost_s for second in load.seconds if second.phase == "measure"]
    if not seconds or not all(seconds):
        return None
    engines = range(max(map(len, seconds)))
    lost_s = max(sum(each[engine] for each in seconds if engine < len(each)) for engine in engines)
    return lost_s * 1000 / (load.window_ms[1] - load.window_ms[0])


def sampler_share(trial: TrialRecord) -> float | None:
    """Return the share of the window by which samples began over 5 ms late; None where not recorded."""
    if trial.load is None:
        return None
    start_ms, end_ms = trial.load.window_ms
    late = [ms for at, ms in trial.series.get(*LATE) if start_ms <= at <= end_ms]
    return sum(ms for ms in late if ms > STALL_MS) / (end_ms - start_ms) if len(late) > 1 else None
