"""What a timed event did: its span, the time to recover, and which checks leave its span out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from lab.analysis.recovery import event_figures, seconds_outside, spans
from lab.analysis.summary import summarise
from lab.report.content import events
from lab.results.node import TimedEvent
from lab.results.record import TrialRecord
from tests.support import records
from tests.support.records import RATE, RESPONSE, USERS, WARMUP_S, WINDOW_MS, counted, hdr, judged, second

LINK = {"endpoints": ["swarm", "servers"], "delay": 0.02}
CUT = {"at": 3.0, "for": 2.0, "partition": ["swarm", "servers"]}
RESTART = {"at": 3.0, "restart": "epoll_lt"}
PAUSE = {"at": 3.0, "for": 2.0, "pause": "epoll_lt"}
Backlog = Mapping[tuple[int, int], int]  # (second, tenth) of the window → requests


def at_ms(second_s: float) -> float:
    return WINDOW_MS[0] + 1000 * second_s


def happened(what: str, target: str, at_s: float, off_ms: float | None = 2.0) -> TimedEvent:
    actual_ms = None if off_ms is None else at_ms(at_s) + off_ms
    return TimedEvent(what=what, target=target, wanted_mono_ms=at_ms(at_s), actual_mono_ms=actual_ms)


CUTS = (happened("partition", "swarm – servers", 3), happened("partition", "swarm – servers", 5))
PAUSED = (happened("pause", "server", 3), happened("unpause", "server", 5))


def one_second(k: int, backlog: Backlog, connected: Backlog, slow: Sequence[int]) -> dict[str, Any]:
    """Second `k` of the window: 2 requests under way, and where the maps say so, others."""
    places = [(k, tenth) for tenth in range(10)]
    times = {900_000: 1} if k in slow else RESPONSE
    late = {1_200_000: 1} if k in slow else {20: 1}
    return second(
        k + WARMUP_S,
        times,
        backlog_tenths=[backlog.get(place, 2) for place in places],
        connected_tenths=[connected.get(place, USERS) for place in places],
        lateness_hdr=hdr(late, RATE),
        lateness_generator_hdr=hdr({20: 1}, RATE),
    )


def disturbed(
    *asked: dict[str, Any],
    done: Sequence[TimedEvent],
    backlog: Backlog | None = None,
    connected: Backlog | None = None,
    slow: Sequence[int] = (),
) -> TrialRecord:
    """A trial with timed events; `slow`: the seconds whose requests waited."""
    made = [one_second(k, backlog or {}, connected or {}, slow) for k in range(records.MEASURE_S)]
    seconds = [second(k) for k in range(WARMUP_S)] + made
    asked_for = records.scenario(events=list(asked), links=[LINK])
    return replace(
        records.with_load(records.trial(), seconds=seconds), scenario=asked_for, events=tuple(done)
    )


def from_to(start: tuple[int, int], end: tuple[int, int], value: int) -> dict[tuple[int, int], int]:
    first, last = 10 * start[0] + start[1], 10 * end[0] + end[1]
    return {divmod(place, 10): value for place in range(first, last)}


# The link heals at 5.0 s; segments that were lost are sent again until 6.4 s.
WAITING = from_to((3, 0), (6, 4), 900)


def test_a_span_ends_when_the_backlog_is_gone_and_not_when_the_link_heals():
    [found] = event_figures(disturbed(CUT, done=CUTS, backlog=WAITING, slow=(3, 4, 5)))
    assert (found.says, found.begin_s, found.healed_s) == ("partition swarm – servers", 3.002, 5.002)
    assert found.recover_s == pytest.approx(1.498)
    assert (found.before.seconds, found.during.seconds, found.after.seconds) == (3, 4, 3)
    assert found.before.requests_per_s == found.after.requests_per_s == RATE
    assert found.before.response_ms.p50 == pytest.approx(1.0, rel=0.01)
    assert found.during.response_ms.p90 == pytest.approx(900, rel=0.01)


def test_its_rate_counts_answers_when_they_come():
    stalled = disturbed(CUT, done=CUTS, backlog=WAITING)
    assert stalled.load is not None
    completed = {3: 10, 4: 0, 5: RATE, 6: RATE - 10}
    seconds = [one.replaced(completed=completed.get(one.k - WARMUP_S, RATE)) for one in stalled.load.seconds]
    [found] = event_figures(records.with_load(stalled, seconds=seconds))
    assert found.during.requests_per_s == RATE / 2
    early = event_figures(records.with_load(stalled, seconds=[s.replaced(completed=None) for s in seconds]))
    assert early[0].during.requests_per_s is None, "an earlier record does not tell"


def test_the_cool_down_is_no_part_of_the_window():
    made = disturbed(CUT, done=CUTS)
    assert made.load is not None
    seconds = made.load.seconds
    after = seconds[-1].replaced(k=seconds[-1].k + 1, phase="cooldown")
    longer = records.with_load(made, seconds=[*seconds, after])
    assert event_figures(longer) == event_figures(made)
    assert len(seconds_outside(longer.load, ())) == records.MEASURE_S


def test_users_that_are_not_back_are_waited_for():
    gone = from_to((3, 0), (4, 2), 0)
    back = disturbed(RESTART, done=[happened("restart", "server", 3)], connected=gone)
    assert event_figures(back)[0].recover_s == pytest.approx(1.298)


def test_a_short_calm_is_no_recovery():
    again = from_to((5, 2), (5, 6), 2)
    [found] = event_figures(disturbed(CUT, done=CUTS, backlog={**WAITING, **again}))
    assert found.recover_s == pytest.approx(1.498)


def test_peaks_of_a_busy_host_do_not_delay_the_recovery():
    peaks = {(6, 8): 40, (7, 3): 30, (8, 0): 50}
    [found] = event_figures(disturbed(CUT, done=CUTS, backlog={**WAITING, **peaks}))
    assert found.recover_s == pytest.approx(1.498)


def test_a_server_that_does_not_recover_says_for_how_long():
    trial = disturbed(CUT, done=CUTS, backlog=from_to((3, 0), (10, 0), 900))
    [found] = event_figures(trial)
    assert (found.recover_s, found.not_within_s) == (None, pytest.approx(4.998))
    assert found.after.seconds is None
    grown = records.with_load(trial, queued_end=900)
    assert {f.says for f in judged(grown).findings if f.check == "backlog"} == {
        "not checked: the backlog of an event was not gone when the window ended"
    }
    summary = summarise(records.run(trial))
    assert [row[-1] for row in events.rows(summary)] == ["", "> 5.0 s", ""]
    assert events.rows(summary)[0][1] == "partition swarm – servers, 3.0 … 5.0 s"


def test_a_closed_load_recovers_with_its_response_times():
    """Its backlog is never more than its users: a median of twice that before the event tells."""
    slower = disturbed(PAUSE, done=PAUSED, slow=(3, 4, 5, 6))
    assert event_figures(slower)[0].recover_s == pytest.approx(0.098)
    load = {"executor": "constant-users", "think_time": 0.5, "rate": None}
    swarm = records.with_swarm(records.trial(), load=load).scenario.swarm.model_dump(mode="json")
    closed = replace(slower, scenario=records.scenario(events=[PAUSE], links=[LINK], swarm=swarm))
    assert event_figures(closed)[0].recover_s == pytest.approx(1.098), "second 6 is slow, 7 is not"


def test_failures_are_no_recovery():
    made = disturbed(PAUSE, done=PAUSED)
    assert made.load is not None
    seconds = [one.to_json() for one in made.load.seconds]
    for one in seconds[WARMUP_S + 5 : WARMUP_S + 7]:
        one |= {"answered": RATE // 2, "failed": RATE // 2}
    failing = records.with_load(made, seconds=[records.load().seconds[0].model_validate(s) for s in seconds])
    assert event_figures(failing)[0].recover_s == pytest.approx(1.098)


def test_without_samples_the_time_to_recover_is_unknown():
    silent = records.with_load(
        disturbed(CUT, done=CUTS), seconds=[second(k) for k in range(WARMUP_S + records.MEASURE_S)]
    )
    [found] = event_figures(silent)
    assert (found.recover_s, found.not_within_s) == (None, None)
    assert {("lateness", "unknown"), ("steady", "unknown")} <= counted(judged(silent))


def test_a_change_that_stays_has_no_recovery_and_ends_what_is_steady():
    more = {"at": 6.0, "link": ["swarm", "servers"], "merge": {"delay": 0.05}}
    done = [happened("merge", "swarm – servers", 6)]
    [found] = event_figures(disturbed(more, done=done, slow=(6, 7, 8, 9)))
    assert (found.healed_s, found.recover_s, found.not_within_s) == (None, None, None)
    assert found.during.seconds == 4
    assert "steady" not in {c for c, _ in unexpected(disturbed(more, done=done, slow=(6, 7, 8, 9)))}


def test_a_limit_that_is_restored_has_an_end():
    limit = {"at": 3.0, "for": 2.0, "limit": "epoll_lt", "cpus": 0.5}
    done = [happened("limit", "server", 3), happened("restore limit", "server", 5)]
    [found] = event_figures(disturbed(limit, done=done))
    assert (found.healed_s, found.recover_s) == (5.002, pytest.approx(0.098))


def test_of_two_events_each_has_its_own_before_and_after():
    later = {"at": 7.0, "restart": "epoll_lt"}
    done = [*CUTS, happened("restart", "server", 7)]
    first, last = event_figures(disturbed(CUT, later, done=done, backlog=WAITING))
    assert first.after.seconds is None, "no whole second lies between the two"
    assert (first.recover_s, last.recover_s) == (pytest.approx(1.498), pytest.approx(0.098))
    overlapping = disturbed(CUT, {**later, "at": 6.0}, done=[*CUTS, happened("restart", "server", 6)],
                            backlog=WAITING)  # fmt: skip
    first, last = event_figures(overlapping)
    assert (first.recover_s, first.not_within_s) == (None, pytest.approx(1.0))


def test_the_event_of_another_server_is_none_of_this_trial():
    other = records.scenario()["servers"] | {"thread": {"model": "thread"}}
    asked = records.scenario(servers=other, events=[{**RESTART, "restart": "thread"}])
    assert spans(replace(records.trial(), scenario=asked)) == ()


def unexpected(trial: TrialRecord) -> set[tuple[str, str]]:
    """What counts, but for the checks of a link, which these trials have no record of."""
    return {
        (check, level) for check, level in counted(judged(trial)) if not check.startswith(("link_", "delay"))
    }


def test_in_the_span_neither_lateness_nor_steadiness_is_judged():
    stalled = disturbed(CUT, done=CUTS, backlog=WAITING, slow=(3, 4, 5, 6))
    assert unexpected(stalled) == set()
    longer = disturbed(CUT, done=CUTS, backlog=WAITING, slow=(3, 4, 5, 6, 7, 8, 9))
    assert ("steady", "invalid") in unexpected(longer)


def test_failures_in_the_span_are_the_events_and_others_count():
    """Connections that are refused while a server restarts, and requests that it broke off."""
    restart = disturbed(
        RESTART, done=[happened("restart", "server", 3)], connected=from_to((3, 0), (4, 2), 0)
    )
    assert restart.load is not None
    broken = {"failed": 200, "answered": RATE - 200, "errors": {"connect_refused": 900, "closed": 200}}
    whole = restart.load.result.whole
    assert whole is not None
    for place, level in ((WARMUP_S + 3, None), (WARMUP_S + 8, "invalid")):
        seconds = list(restart.load.seconds)
        seconds[place] = seconds[place].replaced(**broken)
        spoilt = records.with_load(
            restart, seconds=seconds, failed=200, answered=records.N - 200,
            whole=whole.replaced(failed=200, answered=records.ALL - 200),
            errors={"connect_refused": {"count": 900}, "closed": {"count": 200}},
        )  # fmt: skip
        assert dict(unexpected(spoilt)).get("errors") == level


def test_outside_of_the_span_lateness_is_judged():
    stalled = disturbed(CUT, done=CUTS, backlog=WAITING)
    assert stalled.load is not None
    late = {"lateness_generator_hdr": hdr({9_000: 1}, RATE)}
    for place, level in ((WARMUP_S + 4, None), (WARMUP_S + 8, "invalid")):
        seconds = list(stalled.load.seconds)
        seconds[place] = seconds[place].replaced(**late)
        found = dict(unexpected(records.with_load(stalled, seconds=seconds)))
        assert found.get("lateness") == level


@pytest.mark.parametrize(
    ("off_ms", "level"),
    [(20.0, None), (60.0, "suspect"), (-110.0, "suspect"), (450.0, "invalid"), (None, "unknown")],
)
def test_an_event_is_on_time_or_named(off_ms, level):
    done = (CUTS[0], happened("partition", "swarm – servers", 5, off_ms))
    assert dict(unexpected(disturbed(CUT, done=done))).get("event_on_time") == level


def test_an_event_that_was_not_recorded_is_unknown():
    assert ("event_on_time", "unknown") in unexpected(disturbed(CUT, done=[]))
