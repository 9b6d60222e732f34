"""Known limits: seen in the data, expected or not."""

from dataclasses import replace

import pytest

from lab.analysis.limits import refused_above, served_at_once
from lab.results.record import TrialRecord
from tests.support import records
from tests.support.records import ALL, N, counted, judged, series, trial, with_load, with_scenario, with_swarm


def held_back(t: TrialRecord, at_once: int = 1) -> TrialRecord:
    """An iterative server: one connection is served, the others' requests time out."""
    failed_ = N // 4
    totals = {**records.result()["whole"], "answered": ALL - failed_, "failed": failed_}
    stats = tuple(s.replaced(open_peak=at_once) for s in t.server_stats)
    peak = {("server", "server", "open_peak"): records.counter(at_once, 0)}
    return with_load(
        replace(t, server_stats=stats, series=series(peak)),
        answered=N - failed_, failed=failed_, whole=totals, errors={"timeout": {"count": failed_}},
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
    [(held_back(trial()), {"served_at_once": 1}), (refusing(trial(), 800), {"max_open": 801})],
    ids=["served_at_once", "max_open"],
)
def test_an_expected_limit_that_is_met_does_not_count(spoilt, limits):
    assert judged(spoilt).exit_code == 5
    summary = judged(expecting(spoilt, **limits))
    assert (summary.verdict, summary.exit_code) == ("PASS", 0)
    assert counted(summary) <= {("server_count", "ok")}
    known = [f for f in summary.findings if f.check == "known_limit"]
    assert [(f.level, f.expected) for f in known] == [("ok", True)]
    assert {f.check for f in summary.findings if f.expected} > {"known_limit", "errors"}


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
