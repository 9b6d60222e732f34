"""Checks of the counts: each request has one outcome, and swarm, server and Locust counted the same."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from lab.analysis.checks.trial_view import NoData, Result, TrialView, graded, told
from lab.common.units import show_percent
from lab.results.load import Counts, SlowCount

MISCOUNT = "please report it with the run's folder (`lab bundle RUN`): the swarm miscounted"


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
