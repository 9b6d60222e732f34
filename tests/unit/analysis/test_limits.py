"""Known limits: seen in the data, expected or not."""

from dataclasses import replace
from typing import Any

import pytest

from lab.analysis.charts import charts
from lab.analysis.figures import figures
from lab.analysis.limits import refused_above, served_at_once
from lab.analysis.summary import summarise
from lab.analysis.verdict import judge
from lab.report.content import text
from lab.report.html import html
from lab.report.markdown import markdown
from lab.results.record import TrialRecord
from tests.support import records
from tests.support.records import ALL, N, counted, judged, series, trial, with_load, with_scenario, with_swarm


def held_back(t: TrialRecord, at_once: int = 1) -> TrialRecord:
    """An iterative server: one connection is served, the others' requests time out."""
    failed_ = N // 4
    totals = {
        **records.result()["whole"],
        "answered": ALL - failed_,
        "completed": ALL - failed_,
        "failed": failed_,
    }
    stats = tuple(s.replaced(open_peak=at_once) for s in t.server_stats)
    peak = {("server", "server", "open_peak"): records.counter(at_once, 0)}
    return with_load(
        replace(t, server_stats=stats, series=series(peak)),
        answered=N - failed_, completed=N - failed_, failed=failed_, whole=totals,
        errors={"timeout": {"count": failed_}},
        locust={"requests": ALL, "failures": failed_},
    )  # fmt: skip


def refusing(t: TrialRecord, above: int) -> TrialRecord:
    stats = tuple(s.replaced(open_peak=above, errors={"refused_limit": 200}) for s in t.server_stats)
    peak = {("server", "server", "open_peak"): records.counter(above, 0)}
    return with_load(
        replace(t, server_stats=stats, series=series(peak)),
        connected_peak=above + 3, errors={"idle_closed": {"count": 200}},
    )  # fmt: skip


def expecting(t: TrialRecord, **limits: int) -> TrialRecord:
    return with_scenario(t, expect={"epoll_lt": limits})


def test_limits_are_seen_in_the_data():
    assert served_at_once(held_back(trial())) == 1
    assert refused_above(held_back(trial())) is None
    assert refused_above(refusing(trial(), 800)) == 800
    assert served_at_once(refusing(trial(), 800)) is None
    assert (served_at_once(trial()), refused_above(trial())) == (None, None)


@pytest.mark.parametrize(
    ("spoilt", "limits"),
    [
        (held_back(trial()), {"served_at_once": 1}),
        (refusing(trial(), 800), {"max_open": 801}),
        (refusing(trial(), 800), {"max_open": 765}),
    ],
    ids=["served_at_once", "max_open", "max_open within 5 %"],
)
def test_an_expected_limit_that_is_met_does_not_count(spoilt, limits):
    assert judged(spoilt).exit_code == 5
    summary = judged(expecting(spoilt, **limits))
    assert (summary.verdict, summary.exit_code) == ("PASS", 0)
    assert counted(summary) <= {("server_count", "ok")}
    known = [f for f in summary.findings if f.check == "known_limit"]
    assert [(f.level, f.expected) for f in known] == [("ok", True)]
    assert {f.check for f in summary.findings if f.expected} >= {"known_limit", "errors"}


def test_an_expected_limit_excuses_no_wrong_answer():
    spoilt = expecting(
        with_load(held_back(trial()), errors={"timeout": {"count": 5}, "wrong_answer": {"count": 1}}),
        served_at_once=1,
    )
    assert ("right_answers", "invalid") in counted(judged(spoilt))


def test_an_expected_limit_that_is_not_met_is_suspect():
    assert counted(judged(expecting(trial(), served_at_once=1))) == {("known_limit", "suspect")}


def test_a_limit_that_could_not_be_met_says_nothing():
    few = with_load(with_swarm(trial(), users=records.USERS), connected_peak=records.USERS)
    assert not counted(judged(expecting(few, max_open=1024)))


def test_a_limit_that_nobody_expected_is_named():
    assert ("known_limit", "suspect") in counted(judged(refusing(trial(), 800)))


@pytest.mark.parametrize("expected", [1020, 845, 760])
def test_a_server_that_stopped_elsewhere_has_not_met_the_limit_and_nothing_is_excused(expected):
    """Above and below: an expectation has a tolerance of 5 %, not a lower bound of 0."""
    summary = judged(expecting(refusing(trial(), 800), max_open=expected))
    known = [f for f in summary.findings if f.check == "known_limit"]
    assert [(f.level, f.expected) for f in known] == [("suspect", False)]
    assert f"not the expected limit (max_open: {expected}), so nothing is excused" in known[0].says
    assert counted(summary) > {("connections_reached", "invalid"), ("known_limit", "suspect")}
    assert summary.exit_code == 5


def met(**changes: Any) -> TrialRecord:
    """A trial of a server that refused connections beyond 800, as expected."""
    return expecting(with_load(refusing(trial(), 800), **changes), max_open=800)


@pytest.mark.parametrize(
    "spoilt",
    [
        met(sent=N - 1),
        met(locust={"requests": ALL - 500, "failures": 0}),
        replace(met(), server_stats=tuple(s.replaced(requests=3) for s in met().server_stats)),
        replace(met(), verify=met().verify[:1]),
    ],
    ids=["outcomes", "locust_count", "server_count", "right_answers"],
)
def test_a_limit_never_excuses_a_miscount_or_answers_that_were_not_verified(spoilt, request):
    check = request.node.callspec.id
    assert check in {name for name, level in counted(judged(spoilt)) if level != "ok"}


def test_a_limit_excuses_only_the_kinds_of_errors_that_follow_from_it():
    assert not counted(judged(met(errors={"idle_closed": {"count": 200}, "connect_reset": {"count": 20}})))
    summary = judged(met(errors={"idle_closed": {"count": 200}, "timeout": {"count": 100}}))
    assert ("errors", "invalid") in counted(summary)


def test_a_limit_excuses_no_more_errors_than_users_beyond_it():
    """A fifth of the users is beyond the limit, so no third of the requests may fail."""
    whole = {
        **records.result()["whole"],
        "answered": ALL - N // 3,
        "completed": ALL - N // 3,
        "failed": N // 3,
    }
    failing = met(
        answered=N - N // 3, failed=N // 3, whole=whole, errors={"closed": {"count": N // 3}},
        locust={"requests": ALL, "failures": N // 3},
    )  # fmt: skip
    assert ("errors", "invalid") in counted(judged(failing))


def test_a_limit_excuses_no_more_missing_connections_than_users_beyond_it():
    assert ("connections_reached", "invalid") in counted(judged(met(connected_peak=700)))


def test_no_limit_excuses_a_send_that_was_late_with_a_connection_free():
    late = {"lateness_generator_hdr": records.hdr({20_000: 1}, N)}
    for limited in (met(**late), expecting(with_load(held_back(trial()), **late), served_at_once=1)):
        assert ("lateness", "invalid") in counted(judged(limited))


def test_in_an_older_record_a_limit_excuses_late_sends_where_the_connections_left_cannot_carry_the_rate():
    """At 2,000/s and 1 ms two connections are in use: 800 are enough, and a late send is the generator's."""
    late = {"lateness_hdr": records.hdr({20_000: 1}, N), "lateness_generator_hdr": None}
    assert ("lateness", "invalid") in counted(judged(met(**late)))
    one_at_a_time = expecting(with_load(held_back(trial()), **late), served_at_once=1)
    assert "lateness" not in {check for check, _ in counted(judged(one_at_a_time))}


def test_a_full_accept_queue_follows_from_serving_few_at_once_and_not_from_refusing():
    full = {("server", "sockets", "listen_overflows"): records.counter(0, 9)}
    waits, refuses = held_back(trial()), refusing(trial(), 800)
    for made, limits, follows in ((waits, {"served_at_once": 1}, True), (refuses, {"max_open": 800}, False)):
        known = {key: made.series.get(*key) for key in made.series.points}
        summary = judged(expecting(replace(made, series=series({**known, **full})), **limits))
        assert (("kernel_counters", "suspect") not in counted(summary)) is follows


CLOSED = {"executor": "constant-users", "rate": None, "think_time": 0.1}


def test_refused_users_of_a_closed_load_are_in_the_share_of_errors():
    """800 of 1,000 users are served: a fifth of the requests that were meant was never sent."""
    refused = with_swarm(refusing(trial(), 800), load=CLOSED)
    errors = figures(refused).errors
    assert (errors.rate, errors.users_left_out) == (pytest.approx(0.2), 200)
    assert ("errors", "invalid") in counted(judged(refused))
    assert "errors" not in {check for check, _ in counted(judged(expecting(refused, max_open=800)))}
    half = with_load(refused, answered=N // 2, failed=N // 2, errors={"closed": {"count": N // 2}})
    assert figures(half).errors.rate == pytest.approx(0.2 + 0.8 * 0.5)
    assert ("errors", "invalid") in counted(judged(expecting(half, max_open=800)))


def test_users_that_never_connected_count_whatever_the_reason():
    alone = with_load(with_swarm(trial(), load=CLOSED), connected_peak=900)
    assert figures(alone).errors.rate == pytest.approx(0.1)
    assert figures(with_swarm(trial(), load=CLOSED)).errors.users_left_out == 0


def test_in_an_open_load_too_refused_users_are_in_the_share_of_errors():
    errors = figures(refusing(trial(), 800)).errors  # others sent for the 200 of 1,000 users
    assert (errors.rate, errors.users_left_out) == (pytest.approx(0.2), 200)
    assert figures(trial()).errors.users_left_out is None
    assert figures(with_load(trial(), sent=N - 200, unsent=200)).errors.rate == pytest.approx(0.01)


def test_a_threshold_of_errors_sees_refused_users():
    refused = with_swarm(refusing(trial(), 800), load=CLOSED)
    made = with_scenario(expecting(refused, max_open=800), thresholds={"epoll_lt": {"errors": ["rate<1%"]}})
    summary = judged(made)
    assert (summary.exit_code, summary.thresholds[0].value) == (99, pytest.approx(0.2))


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (
            refusing(trial(), 800),
            "epoll_lt: refused connections beyond 800 open ones: 200 of 1,000 users had none, "
            "and their share of the requests counts as failed.",
        ),
        (
            with_swarm(refusing(trial(), 800), load=CLOSED),
            "epoll_lt: refused connections beyond 800 open ones: 200 of 1,000 users had none, "
            "and their share of the requests counts as failed.",
        ),
        (
            held_back(trial(), 16),
            "epoll_lt: served 16 connections at a time; the other 984 users waited.",
        ),
    ],
    ids=["open", "closed", "at once"],
)
def test_a_server_at_its_limit_is_marked_in_tables_and_charts(made, says):
    limits = {"served_at_once": 16} if "served" in says else {"max_open": 800}
    run = records.run(expecting(made, **limits))
    summary = judge(run, summarise(run))
    assert text.limits_met(summary.servers) == [says]
    assert text.label("epoll_lt", summary.servers["epoll_lt"]) == "epoll_lt (at its limit)"
    shown = markdown(run, summary)
    assert "| epoll_lt (at its limit) |" in shown
    assert "At its limit: epoll" in shown.replace("\\", "")
    page = html(run, summary)
    assert '<th scope="row">epoll_lt (at its limit)</th>' in page
    assert f"At its limit: {says}" in page
    assert [server["limited"] for server in charts(run, summary)["servers"]] == [True]


def test_a_server_below_its_limit_has_no_mark():
    summary = judged(trial())
    assert text.limits_met(summary.servers) == []
    assert text.label("epoll_lt", summary.servers["epoll_lt"]) == "epoll_lt"
