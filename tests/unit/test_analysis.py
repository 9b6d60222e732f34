"""Summary, verdict, exit codes, known limits and links: from records to judgement."""

import random
from dataclasses import replace
from typing import Any

import pytest
from hdrh.histogram import HdrHistogram

from lab.analysis.histogram import DIGITS, HIGHEST_US, LOWEST_US, fewest, merged, quantiles, times
from lab.analysis.judge import judge
from lab.analysis.limits import refused_above, served_at_once
from lab.analysis.model import Summary
from lab.analysis.summary import estimate, summarise
from lab.record import TrialRecord
from tests import records
from tests.records import ALL, RESPONSE, N, hdr, series, trial, with_load, with_swarm


def judged(*trials: TrialRecord, **manifest: Any) -> Summary:
    made = records.run(*trials, **manifest)
    return judge(made, summarise(made))


def counted(summary: Summary) -> set[tuple[str, str]]:
    return {(f.check, f.level) for f in summary.findings if not f.expected}


def test_figures_of_a_trial_with_known_input():
    server = judged(trial()).servers["epoll_lt"]
    assert server.requests_per_s.value == pytest.approx(2000)
    assert server.offered_per_s == pytest.approx(2000)
    assert server.response_ms.p50 == pytest.approx(1.0, rel=1e-3)
    assert server.response_ms.p99 == pytest.approx(1.2, rel=1e-3)
    assert server.response_ms.max == pytest.approx(3.0, rel=1e-3)
    assert server.response_ms.mean == pytest.approx(1.098, rel=1e-3)
    assert server.cpu_us_per_request == pytest.approx(100)
    assert server.cpu_cores == pytest.approx(0.2)
    assert server.memory_bytes_per_connection == pytest.approx(1e7 / records.USERS)
    assert server.syscalls_per_request["read"] == pytest.approx(1.0)
    assert (server.connections_peak, server.refused_above, server.served_at_once) == (1000, None, None)


def test_quantiles_come_from_merged_histograms_and_need_samples():
    fast, slow = hdr({1000: 1}, 30_000), hdr({9000: 1}, 1000)
    both = quantiles(merged([fast, slow]))
    assert both.samples == 31_000
    assert both.p95 == pytest.approx(1.0, rel=1e-3)
    assert both.p99 == pytest.approx(9.0, rel=1e-3)
    assert both.p999 is None
    assert [fewest(p) for p in (50, 90, 95, 99, 99.9)] == [20, 200, 2_000, 10_000, 100_000]
    assert fewest(99.5) == 20_000


def test_times_agree_with_the_library_that_made_them():
    chance = random.Random(7)
    histogram = HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS)
    for _ in range(5000):
        histogram.record_value(round(chance.lognormvariate(8, 3)) + 1)
    seen = times(str(histogram.encode().decode("ascii")))
    assert seen.samples == 5000
    for percentile in (0.1, 1, 25, 50, 90, 99, 99.9, 100):
        assert seen.quantile_us(percentile) == histogram.get_value_at_percentile(percentile)
    assert seen.mean_us == pytest.approx(histogram.get_mean_value())
    assert (seen.min_us, seen.max_us) == (histogram.get_min_value(), histogram.get_max_value())


def test_the_interval_is_min_to_max_at_six_and_none_below():
    assert estimate([1, 2, 3, 4, 5]).ci95 is None
    assert estimate([3, 1, 2, 6, 5, 4]).ci95 == (1, 6)
    assert estimate(list(range(1, 11))).ci95 == (2, 9)
    assert estimate([]).value is None


def test_medians_are_over_valid_trials_and_nothing_is_deleted():
    slow = with_load(trial("epoll_lt/2"), response_hdr=hdr({9000: 1}, N), connected_peak=500)
    server = judged(trial("epoll_lt/1"), slow).servers["epoll_lt"]
    assert (server.trials, server.trials_valid) == (2, 1)
    assert server.response_ms.p50 == pytest.approx(1.0, rel=1e-3)
    assert [f.trial for f in server.per_trial] == ["epoll_lt/1", "epoll_lt/2"]


def test_without_a_valid_trial_the_figures_are_shown_all_the_same():
    server = judged(with_load(trial(), connected_peak=500)).servers["epoll_lt"]
    assert server.trials_valid == 0
    assert server.requests_per_s.value == pytest.approx(2000)


# -- verdict and exit code


def failed(name: str, code: int) -> TrialRecord:
    return replace(trial(name), status="failed", reason="gone", exit_code=code, load=None)


@pytest.mark.parametrize(
    ("codes", "verdict", "code"),
    [
        ((), "PASS", 0),
        ((4,), "UNKNOWN", 4),
        ((5,), "INVALID", 5),
        ((99,), "FAIL", 99),
        ((99, 5), "INVALID", 5),
        ((99, 5, 4), "UNKNOWN", 4),
        ((99, 5, 4, 130), "UNKNOWN", 130),
    ],
)
def test_several_at_once_the_first_that_holds(codes, verdict, code):
    trials = [trial("epoll_lt/1"), *(failed(f"epoll_lt/{i}", c) for i, c in enumerate(codes, 2))]
    summary = judged(*trials)
    assert (summary.verdict, summary.exit_code) == (verdict, code)


def test_an_interrupted_run_has_no_verdict():
    summary = judged(trial(), interrupted=True)
    assert (summary.verdict, summary.exit_code) == ("UNKNOWN", 130)


def test_a_run_without_trials_has_no_verdict():
    summary = judged()
    assert (summary.verdict, summary.exit_code) == ("UNKNOWN", 4)


def test_a_missing_trial_is_inconclusive():
    both = records.manifest([trial("epoll_lt/1"), trial("epoll_lt/2")])
    summary = judged(trial("epoll_lt/1"), plan=both["plan"])
    assert (summary.verdict, summary.exit_code) == ("INCONCLUSIVE", 5)
    assert ("complete", "unknown") in counted(summary)


def test_what_cannot_be_repeated_is_suspect():
    assert counted(judged(trial(), seed=None)) == {("provenance", "suspect")}


def test_a_death_is_not_hidden_behind_its_consequences():
    dead = replace(
        with_load(trial(), answered=N // 2, failed=N // 2, errors={"reset": {"count": N // 2}}),
        exits={"server": {"code": 137, "signal": "SIGKILL", "oom": True}},
        server_stats=records.stats()[:1],
        last_lines={"server": ["serving", "Killed"]},
    )
    summary = judged(dead)
    assert (summary.verdict, summary.exit_code) == ("FAIL", 99)
    said = next(f for f in summary.findings if f.check == "server_died").says
    assert "out of memory" in said
    assert "Killed" in said


def test_a_death_that_the_runtime_saw_counts_even_at_the_very_end():
    exits = {"server": {"code": 139, "signal": "SIGSEGV", "oom": False, "early": True}}
    assert ("server_died", "fail") in counted(judged(replace(trial(), exits=exits)))


# -- fairness


def other(name: str, **server: Any) -> TrialRecord:
    servers = {
        "epoll_lt": {"model": "epoll_lt", "backlog": 4096},
        "poll": {"model": "poll", "backlog": 4096, **server},
    }
    base = replace(trial(name), scenario=records.scenario(servers=servers))
    if not name.startswith("poll"):
        return base
    calls = {key: None for key in records.SERIES if key[1] == "syscalls"}
    calls |= {
        ("server", "syscalls", n): records.counter(0, 2000) for n in ("poll", "read", "write", "accept4")
    }
    return replace(base, server="poll", model="poll", series=series(calls))


def test_fair_servers_are_fair():
    assert not counted(judged(other("epoll_lt/1"), other("poll/1")))


def test_a_difference_that_the_scenario_asks_for_is_suspect():
    pair = [other("epoll_lt/1", backlog=128), other("poll/1", backlog=128)]
    summary = judged(pair[0], replace(pair[1], ready={"backlog": 128}))
    assert counted(summary) == {("fairness", "suspect")}


def test_a_difference_that_nobody_asked_for_is_invalid():
    summary = judged(other("epoll_lt/1"), replace(other("poll/1"), ready={"backlog": 128}))
    assert ("fairness", "invalid") in counted(summary)
    assert summary.exit_code == 5


def test_answers_of_another_size_are_invalid():
    result = {**records.result()["whole"], "bytes_in": 170 * ALL}
    summary = judged(other("epoll_lt/1"), with_load(other("poll/1"), whole=result))
    finding = next(f for f in summary.findings if f.check == "fairness")
    assert finding.level == "invalid"
    assert "150 bytes" in finding.says


# -- known limits


def held_back(t: TrialRecord, at_once: int = 1) -> TrialRecord:
    """An iterative server: one connection is served, the others' requests time out."""
    failed_ = N // 4
    totals = {**records.result()["whole"], "answered": ALL - failed_, "failed": failed_}
    stats = tuple({**s, "open_peak": at_once} for s in t.server_stats)
    peak = {("server", "server", "open_peak"): records.counter(at_once, 0)}
    return with_load(
        replace(t, server_stats=stats, series=series(peak)),
        answered=N - failed_, failed=failed_, whole=totals, errors={"timeout": {"count": failed_}},
    )  # fmt: skip


def refusing(t: TrialRecord, above: int) -> TrialRecord:
    stats = tuple({**s, "open_peak": above, "errors": {"refused_limit": 200}} for s in t.server_stats)
    peak = {("server", "server", "open_peak"): records.counter(above, 0)}
    return with_load(
        replace(t, server_stats=stats, series=series(peak)),
        connected_peak=above + 3, errors={"idle_closed": {"count": 200}},
    )  # fmt: skip


def expecting(t: TrialRecord, **limits: int) -> TrialRecord:
    return replace(t, scenario={**t.scenario, "expect": {"epoll_lt": limits}})


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
        with_load(held_back(trial()), errors={"timeout": 5, "wrong_answer": 1}), served_at_once=1
    )
    assert ("right_answers", "invalid") in counted(judged(spoilt))


def test_an_expected_limit_that_is_not_met_is_suspect():
    assert counted(judged(expecting(trial(), served_at_once=1))) == {("known_limit", "suspect")}


def test_a_limit_that_could_not_be_met_says_nothing():
    few = with_load(with_swarm(trial(), users=records.USERS), connected_peak=records.USERS)
    assert not counted(judged(expecting(few, max_open=1024)))


def test_a_limit_that_nobody_expected_is_named():
    assert ("known_limit", "suspect") in counted(judged(refusing(trial(), 800)))


# -- links


def probe(p50: float, lost: int = 0, samples: int = 400) -> dict[str, Any]:
    return {"rtt_ms": p50, "rtt_p50_ms": p50, "sent": samples, "lost": lost}


def link(requested: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    counted_ = {"packets": 90_000, "dropped": 0, "dropped_queue": 0, "dropped_user": 0, "dropped_asked": 0}
    lateness = {"samples": 90_000, "p50": 60, "p99": 300, "max": 900}
    asked = {"delay_ms": 20.0} if requested is None else requested
    return {
        "endpoints": ["swarm", "servers"], "backend": "delayline", "stamp": "delay: user space",
        "requested": asked,
        "configured": {"server eth1": asked},
        "measured": {"before": [probe(40.3)], "after": [probe(40.5)]},
        "counters": {"server eth1": counted_ | {"lateness_us": lateness}}, "changes": [],
    } | changes  # fmt: skip


def counting(**changes: Any) -> dict[str, Any]:
    counters = link()["counters"]["server eth1"]
    return {"server eth1": counters | changes}


def linked(one: dict[str, Any]) -> TrialRecord:
    return replace(
        trial(), links=(one,), scenario=records.scenario(links=[{"endpoints": ["swarm", "servers"]}])
    )


def seen(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    return {"before": [before], "after": [after]}


def test_a_link_as_asked_is_silent():
    summary = judged(linked(link()))
    assert not counted(summary)
    assert "delay: user space" in summary.stamps
    assert summary.checks["link_delay"] == {"ok": 1}


WRONG_LINKS: list[tuple[str, str, str, dict[str, Any]]] = [
    ("3 ms too slow", "link_delay", "suspect", {"measured": seen(probe(40.2), probe(43.0))}),
    ("no delay at all", "link_delay", "invalid", {"measured": seen(probe(0.2), probe(0.2))}),
    ("loss nobody asked for", "link_loss", "invalid", {"measured": seen(probe(40.2), probe(40.2, lost=1))}),
    ("probed only before", "link_loss", "unknown", {"measured": {"before": [probe(40.2)]}}),
    ("a full queue", "link_drops", "invalid", {"counters": counting(dropped_queue=1)}),
    ("an overrun of the delay line", "link_drops", "invalid", {"counters": counting(dropped_user=7)}),
    ("a late delay line", "delayline_lateness", "suspect", {"counters": counting(lateness_us={"p99": 1500})}),
    ("a very late one", "delayline_lateness", "invalid", {"counters": counting(lateness_us={"p99": 4000})}),
    ("lateness not told", "delayline_lateness", "unknown", {"counters": counting(lateness_us=None)}),
    ("counters not read", "link_drops", "unknown", {"counters": {}}),
]


@pytest.mark.parametrize(
    ("check", "level", "changes"), [w[1:] for w in WRONG_LINKS], ids=[w[0] for w in WRONG_LINKS]
)
def test_a_wrong_link_is_seen(check, level, changes):
    summary = judged(linked(link(**changes)))
    assert (check, level) in counted(summary)
    assert summary.exit_code == (0 if level == "suspect" else 5)


def test_a_link_that_vanished_from_the_record_is_unknown():
    summary = judged(replace(linked(link()), links=()))
    assert ("link_delay", "unknown") in counted(summary)
    assert summary.verdict == "INCONCLUSIVE"


def test_loss_is_held_against_its_binomial_interval():
    asked = {"delay_ms": 20.0, "loss": 0.01}
    fits = link(asked, measured=seen(probe(40.2, lost=9), probe(40.2, lost=8)))
    misses = link(asked, measured=seen(probe(40.2, lost=60), probe(40.2, lost=60)))
    assert not counted(judged(linked(fits)))
    assert ("link_loss", "invalid") in counted(judged(linked(misses)))


def test_drops_that_netem_counts_with_its_losses_are_told_apart():
    asked = {"delay_ms": 20.0, "loss": 0.01}
    measured = seen(probe(40.2, lost=9), probe(40.2, lost=8))
    unknown = {"dropped_queue": None, "dropped_asked": None, "lateness_us": None}
    fits = link(asked, backend="netem", measured=measured, counters=counting(dropped=905, **unknown))
    more = link(asked, backend="netem", measured=measured, counters=counting(dropped=2000, **unknown))
    assert not counted(judged(linked(fits)))
    assert ("link_drops", "invalid") in counted(judged(linked(more)))


def test_a_rate_link_drops_by_design():
    asked = {"delay_ms": 20.0, "rate_bit_per_s": 1e7}
    full = link(asked, counters=counting(dropped_queue=500))
    summary = judged(linked(full))
    assert counted(summary) == {("link_rate", "unknown")}
    assert summary.verdict == "PASS"
    measured = {**link()["measured"], "rate_bit_per_s": 8e6}
    assert ("link_rate", "invalid") in counted(judged(linked(link(asked, measured=measured))))


def test_after_timed_changes_only_the_probes_before_count():
    changed = link(measured=seen(probe(40.2), probe(90.0)), changes=[{"at_s": 5}])
    assert not counted(judged(linked(changed)))


def test_each_way_may_differ():
    asked = {"there": {"delay_ms": 30.0}, "back": {"delay_ms": 10.0}}
    assert not counted(judged(linked(link(asked))))


def test_retransmits_on_a_lossy_link_are_expected():
    asked = {"delay_ms": 20.0, "loss": 0.01}
    lossy = link(asked, measured=seen(probe(40.2, lost=9), probe(40.2, lost=8)))
    busy = series({("server", "sockets", "retransmits"): records.counter(0, 50)})
    assert not counted(judged(replace(linked(lossy), series=busy)))


# -- thresholds


def gated(t: TrialRecord, **thresholds: list[Any]) -> TrialRecord:
    return replace(t, scenario={**t.scenario, "thresholds": {"epoll_lt": thresholds}})


def test_thresholds_that_hold():
    asked = gated(
        trial(), latency=["p(99)<2ms", "med<=1.1ms"], errors=["rate<0.1%"], connections=["value>=1000"]
    )
    summary = judged(asked)
    assert [row["ok"] for row in summary.thresholds] == [True] * 4
    assert summary.thresholds[0]["value"] == pytest.approx(1.2, rel=1e-3)
    assert summary.exit_code == 0


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        ("latency", "p(99)<1ms"),
        ("latency", "p(99.9)<100ms"),
        ("cpu_us_per_request", "value<99us"),
        ("requests_per_s", "value>2500/s"),
        ("descriptors_peak", "value<5000"),
    ],
    ids=["not held", "too few samples", "too dear", "too slow", "no data"],
)
def test_a_threshold_that_does_not_hold_or_cannot_be_told_fails(metric, text):
    summary = judged(gated(trial(), **{metric: [text]}))
    assert (summary.verdict, summary.exit_code) == ("FAIL", 99)


def test_a_threshold_must_hold_in_every_valid_trial():
    times_ = {"response_hdr": hdr({1500: 1}, N), "service_hdr": hdr({1500: 1}, N), "under_way_s": N * 1.5e-3}
    seconds = [records.second(k, {1500: 1}) for k in range(12)]
    slow = with_load(trial("epoll_lt/2"), seconds=seconds, **times_)
    both = [gated(t, latency=["p(50)<1.2ms"]) for t in (trial("epoll_lt/1"), slow)]
    row = judged(*both).thresholds[0]
    assert (row["ok"], row["failed"], row["trial"]) == (False, 1, "epoll_lt/2")
    invalid = with_load(both[1], connected_peak=500)
    row = judged(both[0], invalid).thresholds[0]
    assert (row["ok"], row["valid_trials"]) == (True, 1)


def test_a_threshold_of_a_stored_run_that_is_unknown_today_fails_and_says_so():
    row = judged(gated(trial(), latency=["p99<1ms"])).thresholds[0]
    assert not row["ok"]
    assert "write it like" in row["says"]


def test_response_times_of_the_tests_are_what_they_say():
    assert sum(RESPONSE.values()) == 100
