"""A comparison that can decide nothing names the first cause, and what would be right."""

from __future__ import annotations

from lab.analysis.comparison import Gate, compare, compare_within
from lab.report.comparison import sentences
from lab.results.record import TrialRecord
from tests.support import records
from tests.support.compared_runs import run, sampled
from tests.support.records import hdr, with_load


def unusable(trials: list[TrialRecord]) -> list[TrialRecord]:
    """The trials with a connection for hardly any user: invalid."""
    return [with_load(trial, connected_peak=10) for trial in trials]


def test_a_server_without_a_valid_trial_is_named() -> None:
    """Once this read as if no metric had been measured."""
    servers = {name: {"model": "epoll_lt", "backlog": 4096} for name in ("base", "head")}
    mixed = [*sampled("base", 100, pairs=7), *unusable(sampled("head", 100, pairs=7))]
    made = compare_within(run([records.with_scenario(t, servers=servers) for t in mixed]), "base", "head")
    assert made.refusal is not None
    assert made.refusal.startswith("base: no repeat has a valid trial of both base and head")
    assert "lab report" in made.refusal


def test_repeats_that_have_no_partner() -> None:
    first, second = sampled("epoll_lt", 100, pairs=4)[:2], sampled("epoll_lt", 100, pairs=4)[2:]
    made = compare(run(first), [run(second, "head")])
    assert "no repeat has a valid trial of both" in (made.refusal or "")


def test_too_few_pairs_tell_how_many_are_needed_and_how_to_get_them() -> None:
    runs = [run(sampled("epoll_lt", 100, pairs=1, seed=seed), f"run{seed}") for seed in (1, 2)]
    made = compare(runs[0], runs[1:], Gate(("cpu_us_per_request",)))
    assert made.refusal == (
        "1 valid pair cannot decide 1 metric: at least 6 are needed, so run with --set repeat=10"
    )
    assert f"no decision is possible: {made.refusal}" in list(sentences(made))


def test_a_metric_that_no_pair_has_is_named_with_those_that_have() -> None:
    few = [
        [with_load(t, response_hdr=hdr({1000: 1}, 5000)) for t in sampled("epoll_lt", 100, seed=seed)]
        for seed in (1, 2)
    ]
    made = compare(run(few[0]), [run(few[1], "head")], Gate(("response_p99_ms",)))
    assert made.refusal is not None
    assert made.refusal.startswith("no pair of trials has response_p99_ms")
    assert "measured: cpu_us_per_request" in made.refusal


def test_another_scenario_with_another_load_is_named() -> None:
    other = [records.with_swarm(t, users=2 * records.USERS) for t in sampled("epoll_lt", 100)]
    made = compare(run(sampled("epoll_lt", 100)), [run(other, "head", scenario="busier")])
    assert "(healthy, busier)" in (made.refusal or "")
    assert "compare runs of one scenario" in (made.refusal or "")
