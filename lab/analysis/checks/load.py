"""Checks of the load: was what was asked for put on, and is the time measured the time that passed?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from lab.analysis.checks.evidence import Evidence, NoData, Said, both, graded, percent, told
from lab.analysis.checks.table import LIMITS
from lab.analysis.histogram import FEWEST, merged, times
from lab.results.load import Counts, Second, SlowCount
from lab.scenario.load import load_of
from lab.scenario.swarm import ONE_EXCHANGE

# A Poisson process draws fewer arrivals than its mean by more than this in 1 of 30,000 windows.
POISSON_SIGMAS = 4.0
CONNECTION_ERRORS = (
    "connect_refused",
    "connect_timeout",
    "connect_reset",
    "idle_closed",
    "emfile",
    "ports_exhausted",
)


def own_users(e: Evidence) -> Iterator[Said]:
    """What cannot be asked of Locust users of one's own: they have no schedule, and keep time themselves."""
    timing = told(e.result.timing, "where times come from was not recorded")
    yield Said(
        "ok",
        f"times are those of {timing.source}, from the {timing.response_from}; "
        "not checked: offered_load, connections_reached, lateness, omission, little_law, generator_ceiling",
        expected=True,
    )


def offered_load(e: Evidence) -> Iterable[Said]:
    """Arrivals that were sent, of those asked for. A closed load asks for none: it has no rate to miss."""
    if not e.open_load:
        return ()
    load = load_of(e.swarm["load"])
    asked = load.arrivals_due(e.window_s)
    if load.arrivals == "poisson":
        asked = max(float(e.result.intended), asked - POISSON_SIGMAS * math.sqrt(asked))
    reached = e.result.sent / asked
    return graded(
        "offered_load",
        reached,
        f"{percent(reached)} of the {asked:,.0f} arrivals asked for were sent",
        "lower the rate, add users (an arrival waits for a free connection) or swarm workers",
    )


def connections_reached(e: Evidence) -> Iterable[Said]:
    """Connections open at once on the client's side, of the users asked for."""
    if e.swarm["wire"] in ONE_EXCHANGE or e.clients.get("churn"):
        return ()
    asked = load_of(e.swarm["load"]).most_users(int(e.swarm["users"]))
    peak = e.result.connected_peak
    return graded(
        "connections_reached",
        peak / asked,
        f"{peak:,} of {asked:,} users ever had a connection at once",
        "see the connection errors and the server's log; raise connect-deadline or lower spawn-rate",
    )


def lateness(e: Evidence) -> Iterable[Said]:
    """Actual against intended send time. Late by much, and by much of the median: it takes both to matter."""
    late_ms = _quantile_ms(told(e.result.lateness_hdr, "how late the sends were is missing"), 99.0)
    p50_ms = e.figures.response_ms.p50
    if late_ms is None or p50_ms is None:
        raise NoData("too few requests to say how late the sends were")
    share = late_ms / p50_ms if p50_ms else math.inf
    return both(
        ("lateness_p99_ms", late_ms),
        ("lateness_of_p50", share),
        f"1 % of the sends were {late_ms:.2f} ms late or more, {percent(share)} of the p50",
        "the generator or its connections are the limit: add users or workers, or lower the rate",
    )


def omission(e: Evidence) -> Iterable[Said]:
    """Response time (from the intended send) against service time (from the actual send), at the p99."""
    response, service = e.figures.response_ms.p99, e.figures.service_ms.p99
    if not e.open_load or response is None or not service:
        return ()
    return graded(
        "omission_ratio",
        response / service,
        f"p99 response time is {response:.3g} ms, p99 service time {service:.3g} ms: sends waited",
        "quote the response time; the service time alone would leave the waiting out (coordinated omission)",
    )


def little_law(e: Evidence) -> Iterable[Said]:
    """Mean number of requests under way = rate × mean response time (Little 1961): the books agree.

    It needs the mean that the swarm integrated; a handful of looks at the queue would not do, for they are
    taken when the loop is awake, and a loop that is awake has just sent something.
    """
    mean_ms, rate = e.figures.response_ms.mean, e.figures.requests_per_s
    if mean_ms is None or not rate or e.figures.errors.rate > (LIMITS["error_rate"].suspect or 0):
        return ()  # failed requests are under way too, and have no response time
    seen = _mean_under_way(e)
    lawful = rate * mean_ms / 1000
    off = abs(seen - lawful) / lawful
    return graded(
        "little_law",
        off,
        f"{seen:.4g} requests were under way on average; rate × mean response time is {lawful:.4g}",
        "the measurement contradicts itself: please report it with this run's folder",
    )


def _mean_under_way(e: Evidence) -> float:
    missing = "the swarm did not integrate the number of requests under way (`under_way_s`)"
    return told(e.result.under_way_s, missing) / e.window_s


def outcomes(e: Evidence) -> Iterator[Said]:
    """Every request has exactly one outcome: sent = answered + failed, meant = sent + unsent."""
    each: tuple[tuple[str, Counts], ...] = (("window", e.result), ("whole load", e.whole))
    for name, totals in each:
        sent, ended = totals.sent, totals.answered + totals.failed
        says = f"{name}: {sent:,} requests sent, {ended:,} answered or failed"
        yield from graded(
            "outcomes_missing", abs(sent - ended), says, "the swarm lost count: please report it"
        )
        unsent = told(totals.unsent, "how many requests were given up is missing")
        meant, tried = totals.intended, sent + unsent
        says = f"{name}: {meant:,} requests meant, {tried:,} sent or given up"
        yield from graded(
            "outcomes_missing", abs(meant - tried), says, "the swarm lost count: please report it"
        )


def server_count(e: Evidence) -> Iterable[Said]:
    """The server answered at least what the swarm got, and at most what it was sent.

    A page counts as its resources there. Slow clients are asked apart: what one of them did not get, because
    it was ended or still under way, the server may have answered.
    """
    if not e.trial.model and not e.trial.server_stats:
        raise NoData("the server's image prints no statistics")
    counted = _requests_of_load(e)
    answered, sent = (sum(column) for column in zip(*map(_server_sees, e.parts.values()), strict=True))
    off = max(answered - counted, counted - sent, 0)
    return graded(
        "server_count",
        off / max(sent, 1),
        f"the server counted {counted:,} requests; the swarm sent {sent:,} and got {answered:,} answers",
        "one of the two lost count, or someone else talked to the server",
    )


def _server_sees(e: Evidence) -> tuple[int, int]:
    """Of one group's load: the fewest and the most requests that the server may have counted."""
    parts = len((e.swarm.get("page") or {}).get("paths", ())) or 1
    slow = e.result.slow or SlowCount(answered=0, ended=0)
    open_ended = slow.ended + math.ceil(float(e.clients.get("slow", 0)) * int(e.swarm["users"]))
    return e.whole.answered * parts + slow.answered, e.whole.sent * parts + slow.answered + open_ended


def _requests_of_load(e: Evidence) -> int:
    """The server's last count without the requests of the verifications before it."""
    counts = sorted((s.mono_ms, s.requests) for s in e.trial.server_stats if s.requests is not None)
    if not counts:
        raise NoData("the server's statistics are missing")
    told_ms, counted = counts[-1]
    if told_ms < e.window_ms[1]:
        raise NoData("the server's statistics end before the load does")
    missing = "how many requests the verification made, and when, was not recorded"
    asked = [v.requests for v in e.trial.verify if told(v.mono_ms, missing) <= told_ms]
    return counted - sum(told(number, missing) for number in asked)


def locust_count(e: Evidence) -> Iterable[Said]:
    """Locust's own accounting against the engine's."""
    theirs = told(e.result.locust, "Locust's own statistics are missing")
    ended, failed = e.whole.answered + e.whole.failed, e.whole.failed
    off = max(abs(theirs.requests - ended), abs(theirs.failures - failed))
    return graded(
        "locust_count",
        off / max(ended, 1),
        f"Locust counted {theirs.requests:,} requests and {theirs.failures:,} failures; "
        f"the engine {ended:,} and {failed:,}",
        "the two disagree: please report it with this run's folder",
    )


def errors(e: Evidence) -> Iterator[Said]:
    """Failed requests of the window, and connections that failed at any time."""
    rate, kinds = e.figures.errors.rate, e.figures.errors.by_kind
    yield from graded(
        "error_rate",
        rate,
        f"{percent(rate)} of the requests failed: {_kinds(kinds)}",
        "lower the load, or state the server's known limit under `expect:`",
    )
    refused = {k: seen.count for k, seen in e.result.errors.items() if k in CONNECTION_ERRORS and seen.count}
    lost = sum(refused.values())
    connects = told(e.whole.connects, "how many connections were made is missing")
    share = lost / max(lost + connects, 1)
    yield from graded(
        "error_rate",
        share,
        f"{percent(share)} of the connections failed: {_kinds(refused)}",
        "see the server's log and its listen queue; or state its known limit under `expect:`",
    )


def _kinds(kinds: Mapping[str, int]) -> str:
    return (
        ", ".join(f"{kind} {number:,}" for kind, number in kinds.items()) or "requests that were never sent"
    )


def steady(e: Evidence) -> Iterable[Said]:
    """Medians of the first and the second half of the window: a drift means that warm-up was too short."""
    seconds = e.measured
    halves = [_median_ms(half) for half in (seconds[: len(seconds) // 2], seconds[len(seconds) // 2 :])]
    first, second = halves
    if first is None or second is None:
        raise NoData(f"too few requests in a half of the window: {FEWEST['p50']} are needed for its median")
    moved_ms = abs(second - first)
    share = moved_ms / first if first else math.inf
    says = f"the median moved from {first:.3g} ms in the window's first half to {second:.3g} ms"
    return both(
        ("drift_ms", moved_ms),
        ("drift_share", share),
        f"{says}, by {percent(share)}",
        "lengthen the warm-up, or lower the load: a queue that grows has no steady state",
    )


def _median_ms(seconds: Sequence[Second]) -> float | None:
    texts = [s.response_hdr for s in seconds if s.response_hdr]
    if not texts:
        return None
    half = merged(texts)
    return half.quantile_us(50.0) / 1000 if half.samples >= FEWEST["p50"] else None


def tail_support(e: Evidence) -> Iterator[Said]:
    """Whether the window is long enough, and holds enough requests, to say anything of a tail."""
    samples = e.figures.response_ms.samples
    lacks = next((name for name, needed in FEWEST.items() if samples < needed), "")
    yield from graded(
        "samples",
        samples,
        f"the window holds {samples:,} answers: too few for its {lacks}",
        "measure longer, or raise the rate",
    )
    yield from graded(
        "window_s",
        e.window_s,
        f"the window is {e.window_s:g} s long",
        "measure longer: scheduling and garbage collection come in bursts of seconds",
    )


def _quantile_ms(text: str, percentile: float) -> float | None:
    seen = times(text)
    return seen.quantile_us(percentile) / 1000 if seen.samples else None
