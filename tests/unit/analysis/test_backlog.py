"""Work is counted when it is done, and a backlog that grows is a limit of the server: a result, no doubt."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lab.analysis.checks import REQUIRED
from lab.analysis.figures import figures
from lab.analysis.limits import backlog
from lab.analysis.summary import BY_INTENDED_SEND
from lab.analysis.verdict import limited_trials
from lab.report.content import findings, limitations, text
from lab.results.record import TrialRecord
from tests.support import records
from tests.support.records import MEASURE_S, RATE, N, counted, hdr, judged, run, trial, with_load, with_swarm


def under_way(t: TrialRecord, start: int, end: int, queued: int = 0, **changes: Any) -> TrialRecord:
    """A trial with so many requests under way at the ends of its window; `queued` of them wait at its end."""
    ends = {"in_flight_start": start, "in_flight_end": end - queued, "queued_end": queued}
    return with_load(t, **ends, **changes)


def slow(t: TrialRecord) -> TrialRecord:
    """A server that completes 1,200/s of the 2,000/s asked, and answers all in the end."""
    drift = [records.second(k, {1000 + 400_000 * k: 1}, completed=1200) for k in range(2 + MEASURE_S)]
    told = replace(t, server_stats=records.stats(1200 * MEASURE_S))
    return under_way(told, 1600, 9600, seconds=drift, completed=1200 * MEASURE_S)


def test_work_is_counted_when_it_is_done() -> None:
    found = figures(slow(trial()))
    assert (found.offered_per_s, found.requests_per_s) == (2000, 1200)
    assert found.cpu_us_per_request == pytest.approx(2e5 / 1200)
    assert found.response_ms.samples == N, "times are of the requests meant for the window"


def test_a_server_that_does_not_keep_up_is_a_result() -> None:
    summary = judged(slow(trial()))
    assert (summary.verdict, summary.exit_code) == ("PASS", 0)
    assert counted(summary) == {("backlog", "limit")}
    [finding] = [f for f in summary.findings if f.check == "backlog"]
    for part in ("2,000 requests/s were asked", "1,200/s completed", "from 1,600 to 9,600", "40.0 %"):
        assert part in finding.says
    assert limited_trials(summary.findings) == {"epoll_lt/1"}


def test_what_needs_a_steady_state_is_not_asked() -> None:
    summary = judged(slow(trial()))
    assert not {"steady", "tail_support"} & set(summary.checks)
    assert "not checked: steady, tail_support" in summary.findings[0].says
    assert {"offered_load", "outcomes", "errors", "little_law"} <= set(summary.checks)


def test_what_is_left_over_at_the_end_of_the_drain_follows_from_it() -> None:
    answered, sent = N * 60 // 100, N * 61 // 100
    counts: dict[str, Any] = {
        "answered": answered,
        "sent": sent,
        "failed": sent - answered,
        "unsent": N - sent,
    }
    rest = {name: records.ALL - N + count for name, count in counts.items() if name in ("answered", "sent")}
    whole = {**records.result()["whole"], **counts, **rest}
    counts["whole"] = whole | {"completed": rest["answered"]}
    counts["locust"] = {"requests": rest["sent"], "failures": sent - answered}
    left = {"errors": {"unanswered": {"count": sent - answered}}, "response_hdr": hdr({1000: 1}, answered)}
    summary = judged(with_load(slow(trial()), **counts, **left))
    assert {check for check, level in counted(summary) if level == "invalid"} <= {"server_count"}
    assert summary.servers["epoll_lt"].errors.rate == pytest.approx(0.4), "the figure counts them"
    timed_out = left | {"errors": {"timeout": {"count": sent - answered}}}
    judged_ = judged(with_load(slow(trial()), **counts, **timed_out))
    assert ("errors", "suspect") in counted(judged_)


def test_thresholds_still_apply() -> None:
    asked = records.with_scenario(
        slow(trial()), thresholds={"epoll_lt": {"requests_per_s": ["value>1900/s"]}}
    )
    assert judged(asked).verdict == "FAIL"


def test_it_is_marked_where_its_figures_stand() -> None:
    summary = judged(slow(trial()))
    [(name, server)] = summary.servers.items()
    assert server.kept_up is False
    assert text.label(name, server) == "epoll_lt (at its limit)"
    assert [cell for cell in text.row(server) if cell.endswith(" (grows)")]
    assert any("(grows)" in limit for limit in limitations.limits(run(slow(trial())), summary))
    assert [group.word for group in findings.groups(summary)] == ["limit"]
    assert "1 limit" in findings.verdict_meaning(summary)


def test_a_server_that_keeps_up_is_not_marked() -> None:
    summary = judged(trial())
    [(name, server)] = summary.servers.items()
    assert server.kept_up is True
    assert text.label(name, server) == "epoll_lt"
    assert not [cell for cell in text.row(server) if "grows" in cell]


@pytest.mark.parametrize(
    ("start", "end", "grew"),
    [(2, 202, False), (2, 203, True), (203, 2, False), (0, 0, False)],
    ids=["1 %", "more", "less at the end", "nothing"],
)
def test_it_takes_more_than_a_hundredth_of_the_windows_requests(start: int, end: int, grew: bool) -> None:
    found = backlog(under_way(trial(), start, end))
    assert found is not None
    assert found.grew is grew


def test_arrivals_that_wait_for_a_connection_count() -> None:
    found = backlog(under_way(trial(), 2, 902, queued=850))
    assert found is not None
    assert (found.end, found.grew) == (902, True)


def test_a_few_requests_more_are_chance() -> None:
    few = {"intended": 100, "sent": 100, "answered": 100, "completed": 97}
    assert not backlog(under_way(trial(), 1, 4, **few)).grew  # type: ignore[union-attr]
    assert backlog(under_way(trial(), 1, 40, **few)).grew  # type: ignore[union-attr]


def test_a_rate_that_rises_by_design_brings_more_under_way() -> None:
    stages = [{"duration": "10s", "target": "3000/s"}]
    ramp = {"executor": "ramping-arrival-rate", "start_rate": 1000.0, "stages": stages}
    rising = with_swarm(trial(), load=ramp)
    slow_link = {"response_hdr": hdr({300_000: 1}, N)}  # at 300 ms, 2,000/s more are 600 requests more
    found = backlog(under_way(rising, 300, 900, **slow_link))
    assert found is not None
    assert found.by_rate == pytest.approx(600, rel=0.01)
    assert not found.grew
    assert backlog(under_way(rising, 300, 1900, **slow_link)).grew  # type: ignore[union-attr]


def test_a_closed_load_has_no_backlog() -> None:
    closed = with_swarm(trial(), load={"executor": "constant-users", "think_time": 0.0})
    assert backlog(under_way(closed, 2, 9000)) is None
    assert judged(under_way(closed, 2, 9000)).servers["epoll_lt"].kept_up is None


def test_a_record_of_an_earlier_version_is_shown_as_it_was_counted() -> None:
    old = with_load(trial(), completed=None, in_flight_end=None, answered=N)
    summary = judged(old)
    assert summary.servers["epoll_lt"].requests_per_s.value == RATE
    assert summary.stamps == (BY_INTENDED_SEND,)
    assert counted(summary) == {("backlog", "unknown"), ("server_window", "unknown")}
    assert "backlog" not in REQUIRED
    assert summary.verdict == "PASS"
