"""Checks that what was counted or measured twice agrees: nothing was lost, and nothing counted twice."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from lab.analysis.checks.trial_view import NoData, Result, TrialView, graded, told
from lab.analysis.histogram import decode
from lab.common.units import show_number, show_percent
from lab.results.load import Counts, Second, SlowCount

CONTRADICTION = (
    "please report it with the run's folder (`lab bundle RUN`): the measurement contradicts itself"
)
LOST_ON_THE_WAY = (
    "please report it with the run's folder (`lab bundle RUN`): a line was lost between swarm and record"
)
# Those that only ramp and drain have too: bytes and connects. Completions of the drain are in no second.
OF_WINDOW = (
    "intended", "sent", "answered", "completed", "failed", "unsent", "connects", "bytes_in", "bytes_out",
)  # fmt: skip
OF_WHOLE = ("intended", "sent", "answered", "failed", "unsent")
# A line of the server's statistics so close to an end of the window tells its count there.
AT_MARK_MS = 50.0


def little_law(view: TrialView) -> Iterable[Result]:
    """Little's law: area under the number in flight = the requests' parts of the window (Little 1961).

    The engine books the area at each change of the number, and the part of each request as it ends, failed
    ones too. So the law holds whatever the server did.
    """
    missing = "the swarm did not keep both books of the requests in flight (an earlier version)"
    area_s = told(view.result.in_flight_area_s, missing)
    parts_s = told(view.result.in_flight_parts_s, missing)
    most_s = max(area_s, parts_s)
    off = abs(area_s - parts_s) / parts_s if parts_s > 0 else math.inf if most_s > 0 else 0.0
    seen, lawful = (show_number(value / view.window_s) for value in (area_s, parts_s))
    return graded(
        "little_law",
        off,
        f"{seen} requests in flight on average by their number, {lawful} by the time that each was in flight"
        f": a difference of {show_percent(off)}",
        CONTRADICTION,
    )


def seconds(view: TrialView) -> Iterator[Result]:
    """Check that the seconds add up to the result: counts, and samples of the histograms."""
    measured = view.measured
    yield from _sums("window", OF_WINDOW, measured, view.result)
    if not view.own_users:  # those send while they are spawned, which is no second of the load clock
        yield from _sums("whole load", OF_WHOLE, view.load.seconds, view.whole)
    for name, times in (("response", "response_hdr"), ("service", "service_hdr")):
        found = sum(_samples(getattr(second, times)) for second in measured)
        yield from _differs(f"window: {name} times", found, _samples(getattr(view.result, times)))
    if view.whole.response_hdr is not None:
        yield from _differs(
            "whole load: response times", _samples(view.whole.response_hdr), view.whole.answered
        )


def _sums(name: str, counts: Sequence[str], each: Sequence[Second], total: Counts) -> Iterator[Result]:
    for count in counts:
        parts, whole = [getattr(second, count) for second in each], getattr(total, count)
        if whole is not None and None not in parts:
            yield from _differs(f"{name}: {count.replace('_', ' ')}", sum(parts), whole)


def _differs(what: str, sum_: int, total: int) -> Iterable[Result]:
    message = f"{what}: {sum_:,} in the seconds, {total:,} in the result"
    return graded("seconds_missing", abs(sum_ - total), message, LOST_ON_THE_WAY)


def _samples(histogram: str) -> int:
    return int(decode(histogram).get_total_count())


class CountAt(NamedTuple):
    """The server's count at an end of the window, and how far from it the nearest line was printed."""

    requests: float
    skew_ms: float


def server_window(view: TrialView) -> Iterable[Result]:
    """Compare the server's count inside the window with the answers that the swarm got in it.

    The server's lines of statistics at both ends of the window tell its count: each resource of a page,
    requests of slow clients, and some that the client gave up. On a link, answers are on their way at both
    ends: not more than what is in flight there grew by.
    """
    done = told(view.result.completed, "completions were not counted") * view.parts_per_request
    start, end = (_count_at(view, moment) for moment in view.window_ms)
    counted = end.requests - start.requests
    on_way = _on_the_way(view)
    off = max(counted - done - on_way - _maybe_counted(view), done - counted - on_way, 0.0)
    skew_ms = start.skew_ms + end.skew_ms
    if off <= 2 + done / view.window_s * skew_ms / 1000:
        return ()
    return graded(
        "server_window",
        off / max(done, 1),
        f"in the window the server counted {counted:,.0f} requests and the swarm {done:,} answers; "
        f"the server's lines were {skew_ms:.1f} ms off both ends: "
        f"a difference of {show_percent(off / max(done, 1))}",
        "let no other client talk to the server; if none did, please report it (`lab bundle RUN`)",
    )


def _count_at(view: TrialView, moment_ms: float) -> CountAt:
    """Interpolate between the lines around a moment. Raises NoData where none was printed close to it."""
    lines = sorted((s.mono_ms, s.requests) for s in view.trial.server_stats if s.requests is not None)
    if not lines:
        raise NoData(view.why_missing("server", "the server's statistics are missing"))
    skew_ms = min(abs(at - moment_ms) for at, _ in lines)
    if skew_ms > AT_MARK_MS:
        raise NoData(f"the server printed no statistics within {AT_MARK_MS:g} ms of both ends of the window")
    before = [line for line in lines if line[0] <= moment_ms][-1:]
    after = [line for line in lines if line[0] >= moment_ms][:1]
    (from_ms, low), (to_ms, high) = (before or after)[0], (after or before)[0]
    share = (moment_ms - from_ms) / (to_ms - from_ms) if to_ms > from_ms else 0.0
    return CountAt(low + share * (high - low), skew_ms)


def _on_the_way(view: TrialView) -> int:
    """Return by how many more (or fewer) answers may be on a link at the window's end than at its start."""
    if not (view.trial.links or view.trial.scenario.links):
        return 0
    missing = "what was in flight at the window's ends was not counted"
    ends = (told(view.result.in_flight_end, missing), told(view.result.in_flight_start, missing))
    return abs(ends[0] - ends[1]) * view.parts_per_request


def _maybe_counted(view: TrialView) -> int:
    """Return the requests that the server may have counted though no answer of the window is theirs."""
    slow = view.result.slow or SlowCount(answered=0, ended=0)
    given_up = view.whole.failed * view.parts_per_request
    begun = (view.parts_per_request - 1) * (view.result.in_flight_end or 0)
    return given_up + begun + slow.answered + slow.ended
