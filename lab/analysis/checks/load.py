"""Checks of the load: was the requested load offered, and do all counts agree?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from lab.analysis import limits
from lab.analysis.checks.trial_view import NoData, Result, TrialView, both, graded, told
from lab.analysis.figures import failed_of, left_out
from lab.analysis.groups import parts
from lab.analysis.histogram import FEWEST, merged, quantiles, times
from lab.analysis.recovery import unrecovered
from lab.common.units import show_ms, show_number, show_percent, show_plain
from lab.results.load import Counts, Second, SlowCount

FEWEST_CALM_S = 2  # a half of what events leave of the window has at least a second
# In 1 of 30,000 windows a Poisson process draws fewer arrivals than its mean by more than this.
POISSON_SIGMAS = 4.0
NONE_MEANT = "no request was meant for the window"
MISCOUNT = "please report it with the run's folder (`lab bundle RUN`): the swarm miscounted"
CONNECTION_ERRORS = (
    "connect_refused",
    "connect_timeout",
    "connect_reset",
    "idle_closed",
)  # what the client itself ran out of is told by the check `client_exhausted`


def own_users(view: TrialView) -> Iterator[Result]:
    """List the checks that do not apply to own Locust users: they have no schedule and time themselves."""
    timing = told(view.result.timing, "the source of the times was not recorded")
    yield Result(
        "ok",
        f"times are measured by {timing.source}, from the {timing.response_from}; "
        "not checked: offered_load, connections_reached, lateness, omission, little_law, generator_ceiling",
        expected=True,
    )


def backlog(view: TrialView) -> Iterable[Result]:
    """Growth over the window of the requests in flight or waiting for a connection: a server's limit."""
    if any(map(limits.queue_overran, view.trial.links)):
        raise NoData("a full queue of a link dropped packets: the backlog is the link's")
    if unrecovered(view.trial):
        raise NoData("the backlog of an event was not gone when the window ended")
    found = told(limits.backlog(view.trial), "what was under way at the window's ends was not counted")
    if not found.grew:
        return ()
    done = told(view.result.completed, "completions were not counted") / view.window_s
    return graded(
        "backlog",
        found.share,
        f"the server did not keep up: {view.result.intended / view.window_s:,.0f} requests/s were asked, "
        f"{done:,.0f}/s completed, and the backlog grew from {found.start:,} to {found.end:,} requests, "
        f"by {show_percent(found.share)}",
        "read the rate as the server's limit, and lower the load for its times",
        ": times grow with the window; not checked: steady, tail_support",
    )


def offered_load(view: TrialView) -> Iterable[Result]:
    """Sent arrivals, as a share of those requested. A closed load requests none: it has no rate.

    Arrivals that waited for a free connection to the end, of a server that did not keep up, were offered.
    """
    if not view.open_load:
        return ()
    load = view.swarm.load
    asked = load.arrivals_due(view.window_s)
    if load.arrivals == "poisson":
        asked = max(float(view.result.intended), asked - POISSON_SIGMAS * math.sqrt(asked))
    reached = (view.result.sent + _left_over(view)[0]) / asked
    return graded(
        "offered_load",
        reached,
        f"of {asked:,.0f} requested arrivals the swarm sent {show_percent(reached)}",
        "lower the rate, or add users (an arrival waits for a free connection) or swarm workers",
    )


def _left_over(view: TrialView) -> tuple[int, int]:
    """Return what a backlog left over at the end of the drain: never sent, sent and not answered."""
    if view.figures.kept_up is not False:
        return 0, 0
    return view.result.unsent, view.errors("unanswered")


def lateness(view: TrialView) -> Iterable[Result]:
    """Actual against intended send time, in milliseconds and relative to the median.

    The time in which no connection was free is left out: the server held them all. So are the seconds in
    which an event stalled answers.
    """
    late_ms = _lateness_p99_ms(view)
    p50_ms = quantiles(view.result.response_hdr).p50  # of the answers: of the others the wait is the server's
    if late_ms is None or p50_ms is None:
        raise NoData("too few requests for the lateness of the sends")
    share = late_ms / p50_ms if p50_ms else math.inf
    return both(
        ("lateness_p99_ms", late_ms),
        ("lateness_of_p50", share),
        f"send lateness p99 {show_number(late_ms)} ms = {_ratio(share)} p50",
        f"{view.lower_load}, or add workers: the generator sent late though it had a free connection",
    )


def _lateness_p99_ms(view: TrialView) -> float | None:
    missing = "the lateness of the sends was not recorded"
    if not view.stalled:
        recorded = view.result.lateness_generator_hdr or view.result.lateness_hdr
        return _quantile_ms(told(recorded, missing), 99.0)
    seen = merged(told(s.lateness_generator_hdr, missing) for s in view.calm(stalls_only=True))
    return seen.quantile_us(99.0) / 1000 if seen.samples else None


def omission(view: TrialView) -> Iterable[Result]:
    """Response time (from the intended send) against service time (from the actual send), at the p99.

    Where there are too few answers for a p99, at the highest quantile that they support.
    """
    if not view.open_load:
        return ()
    name, response, service = _highest_of_both(view)
    return graded(
        "omission_ratio",
        response / service,
        f"{name} response time {show_ms(response)}, {name} service time {show_ms(service)}: "
        f"{show_number(response / service)} times as long",
        "report the response time: the service time leaves the waiting out (coordinated omission)",
        ", because sends waited",
    )


def _highest_of_both(view: TrialView) -> tuple[str, float, float]:
    """Return the highest quantile up to the p99 that both times have. Raises NoData where there is none."""
    # Of the answers: a request without one waited in either.
    times = [quantiles(text) for text in (view.result.response_hdr, view.result.service_hdr)]
    for name in ("p99", "p95", "p90", "p50"):
        response, service = (getattr(one, name) for one in times)
        if response is not None and service:
            return name, response, service
    raise NoData("too few answers for a median")


def outcomes(view: TrialView) -> Iterator[Result]:
    """Every request has exactly one outcome: sent = answered + failed, intended = sent + unsent.

    Each answer was counted in its own second too: over the whole load answered = completed.
    """
    each: tuple[tuple[str, Counts], ...] = (("window", view.result), ("whole load", view.whole))
    for name, totals in each:
        sent, ended = totals.sent, totals.answered + totals.failed
        yield from _same(f"{name}: {sent:,} requests sent, {ended:,} answered or failed", sent - ended)
        unsent = told(totals.unsent, "the number of unsent requests was not recorded")
        intended, tried = totals.intended, sent + unsent
        message = f"{name}: {intended:,} requests intended, {tried:,} sent or unsent"
        yield from _same(message, intended - tried)
    answered, completed = view.whole.answered, view.whole.completed
    if completed is not None:
        message = f"whole load: {answered:,} requests answered, {completed:,} answers counted as they came"
        yield from _same(message, answered - completed)


def _same(message: str, off: int) -> Iterable[Result]:
    return graded("outcomes_missing", abs(off), f"{message}: a difference of {abs(off):,}", MISCOUNT)


def server_count(view: TrialView) -> Iterable[Result]:
    """Check that the server's count lies between the swarm's answers received and requests sent.

    The server counts each resource of a page. A request of a slow client that was ended or still in flight
    may have been answered or not.
    """
    if not view.trial.model and not view.trial.server_stats:
        raise NoData("the server's image prints no statistics")
    counted = _requests_of_load(view)
    answered, sent = (sum(column) for column in zip(*map(_server_sees, view.parts.values()), strict=True))
    off = max(answered - counted, counted - sent, 0)
    return graded(
        "server_count",
        off / max(sent, 1),
        f"the server counted {counted:,} requests; the swarm sent {sent:,} and received "
        f"{answered:,} answers: a difference of {show_percent(off / max(sent, 1))}",
        "let no other client talk to the server; if none did, please report it (`lab bundle RUN`)",
    )


def _server_sees(view: TrialView) -> tuple[int, int]:
    """Return the fewest and the most requests of one group that the server may have counted."""
    parts = view.parts_per_request
    slow = view.result.slow or SlowCount(answered=0, ended=0)
    open_ended = slow.ended + math.ceil(view.swarm.clients.slow * view.swarm.users)
    return view.whole.answered * parts + slow.answered, view.whole.sent * parts + slow.answered + open_ended


def _requests_of_load(view: TrialView) -> int:
    """Return the server's last count without the requests of the verifications before it."""
    counts = sorted((s.mono_ms, s.requests) for s in view.trial.server_stats if s.requests is not None)
    if not counts:
        raise NoData(view.why_missing("server", "the server's statistics are missing"))
    told_ms, counted = counts[-1]
    if told_ms < view.window_ms[1]:
        raise NoData("the server's statistics end before the load")
    missing = "the requests of the verification, or their time, were not recorded"
    asked = [v for v in view.trial.verify if told(v.mono_ms, missing) <= told_ms]
    if not all(verified.ok for verified in asked):
        raise NoData("a verification failed: how many of its requests the server counted is unknown")
    return counted - sum(told(verified.requests, missing) for verified in asked)


def locust_count(view: TrialView) -> Iterable[Result]:
    """Check that the engine's events reached Locust's accounting: its totals against the engine's own.

    Both count what one engine reported: this proves the way, not the counts themselves.
    """
    theirs = told(view.result.locust, "Locust's own statistics are missing")
    ended, failed = view.whole.answered + view.whole.failed, view.whole.failed
    off = max(abs(theirs.requests - ended), abs(theirs.failures - failed))
    return graded(
        "locust_count",
        off / max(ended, 1),
        f"{theirs.requests:,} requests and {theirs.failures:,} failures reached Locust's accounting, "
        f"the engine reported {ended:,} and {failed:,}: a difference of {show_percent(off / max(ended, 1))}",
        "please report it with the run's folder (`lab bundle RUN`): events were lost on the way to Locust",
    )


def errors(view: TrialView) -> Iterator[Result]:
    """Failed requests of the window, and connections that failed at any time.

    What a server that did not keep up left over when the drain ended is its backlog, not an error. Where an
    event stalls answers, what fails in its span is its doing: those seconds are left out.
    """
    told(view.figures.errors.rate, NONE_MEANT)
    rate = left_out(*parts(view.trial).values()).failed(_failed_share(view))
    kinds = view.figures.errors.by_kind
    what = f"; errors over the whole load: {_kinds(kinds)}" if kinds else ""
    users = view.figures.errors.users_left_out
    without = f", with those of {users:,} users that never had a connection" if users else ""
    failed = f"{show_percent(rate)} of the window's requests {'failed' if kinds else 'were never sent'}"
    yield from graded(
        "error_rate",
        rate,
        failed,
        f"{view.lower_load}, or set the server's known limit under `expect:`",
        without + what,
    )
    stalled = _stalled_seconds(view)
    refused = {
        kind: number
        for kind, seen in view.result.errors.items()
        if (number := seen.count - sum(s.errors.get(kind, 0) for s in stalled)) and kind in CONNECTION_ERRORS
    }
    lost = sum(refused.values())
    missing = "the number of connections was not recorded"
    connects = told(view.whole.connects, missing) - sum(told(s.connects, missing) for s in stalled)
    share = lost / max(lost + connects, 1)
    yield from graded(
        "error_rate",
        share,
        f"{show_percent(share)} of the connections failed",
        "see the server's log and its listen queue, or set its known limit under `expect:`",
        f": {_kinds(refused)}",
    )


def _stalled_seconds(view: TrialView) -> Sequence[Second]:
    """Return the seconds in which an event stalled answers; none without such an event."""
    if not view.stalled:
        return ()
    calm = {second.k for second in view.calm(stalls_only=True)}
    return [second for second in view.measured if second.k not in calm]


def _failed_share(view: TrialView) -> float:
    failed, meant = failed_of(view.result)
    parts = [failed_of(second) for second in _stalled_seconds(view)]
    failed -= sum(part[0] for part in parts) + sum(_left_over(view))
    meant -= sum(part[1] for part in parts)
    return max(0, failed) / meant if meant else 0.0


def _kinds(kinds: Mapping[str, int]) -> str:
    return ", ".join(f"{kind} {number:,}" for kind, number in kinds.items())


def steady(view: TrialView) -> Iterable[Result]:
    """Median of the window's first half against the second: a drift means that the warm-up was too short.

    The seconds of timed events are left out, until the backlog of each is gone.
    """
    seconds = view.calm(stalls_only=False)
    if len(seconds) < len(view.measured) and len(seconds) < FEWEST_CALM_S:
        return ()  # the scenario itself changes too much of the window
    halves = [_median_ms(half) for half in (seconds[: len(seconds) // 2], seconds[len(seconds) // 2 :])]
    first, second = halves
    if first is None or second is None:
        raise NoData(f"a half of the window has fewer than {FEWEST['p50']} requests, too few for a median")
    moved_ms = abs(second - first)
    share = moved_ms / first if first else math.inf
    return both(
        ("drift_ms", moved_ms),
        ("drift_share", share),
        f"median {show_ms(first)} in the window's first half, {show_ms(second)} in the second: "
        f"moved by {show_ms(moved_ms)} = {_percent(share)}",
        f"lengthen the warm-up, or {view.lower_load}: a growing queue has no steady state",
    )


def _median_ms(seconds: Sequence[Second]) -> float | None:
    texts = [s.response_hdr for s in seconds if s.response_hdr]
    if not texts:
        return None
    half = merged(texts)
    return half.quantile_us(50.0) / 1000 if half.samples >= FEWEST["p50"] else None


def tail_support(view: TrialView) -> Iterator[Result]:
    """Check that the window is long enough, and has enough answers, for the quantiles of the tail."""
    samples = view.figures.response_ms.samples
    lacks = next((name for name, needed in FEWEST.items() if samples < needed), "")
    yield from graded(
        "samples",
        samples,
        f"too few answers in the window for {lacks}: {samples:,}",
        view.more_requests,
    )
    window_s = round(view.window_s, 2)  # its marks are read from a clock of milliseconds
    yield from graded(
        "window_s",
        window_s,
        f"window of {show_plain(window_s)} s",
        "lengthen the window: scheduling and garbage collection come in bursts of seconds",
    )


def _ratio(share: float) -> str:
    """`0.12` → `12 % of`, `11.3` → `11 ×`."""
    if share < 1:
        return f"{show_percent(share)} of"
    return f"{share:,.{0 if share >= 10 else 1}f} ×" if math.isfinite(share) else "∞ ×"


def _percent(share: float) -> str:
    return show_percent(share) if math.isfinite(share) else "∞ %"


def _quantile_ms(text: str, percentile: float) -> float | None:
    seen = times(text)
    return seen.quantile_us(percentile) / 1000 if seen.samples else None
