"""Summary, verdict, exit codes, fairness: from records to judgement."""

import random
from dataclasses import replace
from typing import Any

import pytest
from hdrh.histogram import HdrHistogram

from lab.analysis.figures import figures
from lab.analysis.histogram import DIGITS, HIGHEST_US, LOWEST_US, fewest, merged, quantiles, times
from lab.analysis.summary import estimate
from lab.results.record import TrialRecord
from tests.support import records
from tests.support.records import ALL, N, counted, hdr, judged, manifest, series, trial, with_load


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


@pytest.mark.parametrize(
    ("connections", "batches", "told"),
    [
        (10, 0, None),  # seen: 0 B and 25.6 KiB for the same server, by where a batch began
        (10, 1, None),
        (10, 4, 104_858),
        (300, 2, None),
        (1000, 8, 2097),
        (10_000, 0, 0),
    ],
)
def test_memory_is_told_where_a_batch_of_the_kernel_matters_little(connections, batches, told):
    start = 2e7
    memory = [
        (t, start + (t > records.START_MS) * batches * 2**18) for t, _ in records.counter(connections, 0)
    ]
    of = {
        ("server", "server", "open_peak"): records.counter(connections, 0),
        ("server", "cgroup", "memory_bytes"): memory,
    }
    stats = tuple(s.replaced(open_peak=connections) for s in trial().server_stats)
    made = with_load(replace(trial(), series=series(of), server_stats=stats), connected_peak=connections)
    assert figures(made).memory_bytes_per_connection == (told and pytest.approx(told, abs=1))


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
        ((0,), "UNKNOWN", 4),
        ((77,), "UNKNOWN", 4),
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


def test_a_run_of_several_machines_says_so():
    assert counted(judged(trial(), machines=2)) == {("machines", "suspect")}
    assert counted(judged(trial(), machines=1)) == set()


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


def test_the_labs_own_cpu_time_stands_in_the_environment():
    assert judged(trial()).environment["overhead"] == {"cpu_cores": 0.01, "cpu": "0.500 % of 2 CPUs"}


def test_a_setting_of_the_machine_that_was_not_recorded_is_named():
    environment = manifest([trial()])["environment"]
    host = {**environment["host"], "clock_source": None}
    (finding,) = judged(trial(), environment={**environment, "host": host}).findings
    assert finding.says == "not recorded: clock source"
