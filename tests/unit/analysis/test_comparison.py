"""Base against head: pairs, gates, decisions, drift of the environment."""

import json
from dataclasses import replace

import pytest

from lab.analysis import comparison as comparing
from lab.analysis.comparison import Gate, compare, compare_within
from lab.analysis.comparison_model import Comparison, MetricRow
from tests.support import records
from tests.support.compared_runs import PAIRS, other_machine, run, sampled
from tests.support.records import hdr, with_load, with_swarm


def row(made: Comparison, metric: str = "cpu_us_per_request") -> MetricRow:
    return next(r for r in made.heads[0].servers[0].metrics if r.metric == metric)


def test_nothing_changed_is_ok():
    made = compare(run(sampled("epoll_lt", 100, seed=1)), [run(sampled("epoll_lt", 100, seed=2), "head")])
    assert (made.decision, made.exit_code, made.refusal) == ("OK", 0, None)
    cpu = row(made)
    assert cpu.ratio == pytest.approx(1, abs=0.02)
    assert cpu.ci95 is not None
    assert cpu.ci95[0] <= cpu.ratio <= cpu.ci95[1]
    assert (cpu.pairs, cpu.gated, cpu.decision) == (PAIRS, True, "OK")
    assert row(made, "response_p50_ms").gated is False
    assert json.loads(made.model_dump_json())["heads"][0]["head"] == "head"


def test_a_fifth_more_cpu_is_found_and_named():
    made = compare(run(sampled("epoll_lt", 100, seed=1)), [run(sampled("epoll_lt", 120, seed=2), "head")])
    assert (made.decision, made.exit_code) == ("REGRESSION", 99)
    cpu = row(made)
    assert (cpu.decision, cpu.worse) == ("REGRESSION", "higher")
    assert cpu.base == pytest.approx(100, rel=0.02)
    assert cpu.head == pytest.approx(120, rel=0.02)
    assert cpu.ratio == pytest.approx(1.2, rel=0.02)
    assert cpu.mde is not None
    assert 1.05 < cpu.mde < 1.2
    assert row(made, "response_p99_ms").decision == "OK"


def test_a_fifth_less_is_an_improvement_and_ok():
    made = compare(run(sampled("epoll_lt", 100)), [run(sampled("epoll_lt", 80, seed=2), "head")])
    assert made.decision == "OK"
    assert row(made).improved


def test_noise_as_large_as_the_margin_is_inconclusive():
    base = run(sampled("epoll_lt", 100, noise=0.10))
    made = compare(base, [run(sampled("epoll_lt", 105, seed=2, noise=0.10), "head")])
    assert (made.decision, made.exit_code) == ("INCONCLUSIVE", 5)


def test_fewer_than_six_pairs_are_shown_not_compared():
    made = compare(run(sampled("epoll_lt", 100, pairs=5)), [run(sampled("epoll_lt", 150, pairs=5), "head")])
    assert made.decision == "INCONCLUSIVE"
    assert made.refusal is not None
    assert row(made).ratio == pytest.approx(1.5, rel=0.05)
    assert row(made).ci95 is None
    assert "5 of at least 6 pairs" in row(made).says


def test_a_gate_that_cannot_see_what_is_asked_refuses():
    runs = [run(sampled("epoll_lt", 100, seed=seed, noise=0.03), f"run{seed}") for seed in (1, 2)]
    cpu = ("cpu_us_per_request",)
    assert compare(runs[0], runs[1:], Gate(cpu, detect=0.5)).refusal is None
    blind = compare(runs[0], runs[1:], Gate(cpu, detect=0.06)).refusal
    assert blind is not None
    assert "6.0%" in blind


def test_seven_pairs_are_needed_for_two_metrics():
    runs = [run(sampled("epoll_lt", cpu, pairs=6), f"run{cpu}") for cpu in (100, 150)]
    both = compare(runs[0], runs[1:])
    needed = "at least 7 are needed, so run with --set repeat=10"
    assert both.refusal == f"6 valid pairs cannot decide 2 metrics: {needed}"
    assert both.decision == "INCONCLUSIVE"
    one = compare(runs[0], runs[1:], Gate(("cpu_us_per_request",)))
    assert (one.decision, one.refusal) == ("REGRESSION", None)


def test_an_invalid_trial_takes_its_pair_with_it_and_is_counted():
    base, head = sampled("epoll_lt", 100), sampled("epoll_lt", 100, seed=2)
    head[3] = with_load(head[3], connected_peak=10)
    made = compare(run(base), [run(head, "head")])
    server = made.heads[0].servers[0]
    assert (server.pairs, server.dropped) == (PAIRS - 1, ("epoll_lt/4",))


def test_rate_gates_in_a_closed_loop_only():
    closed_load = {"executor": "constant-users", "think_time": 0.0, "rate": None}
    open_ = compare(run(sampled("epoll_lt", 100)), [run(sampled("epoll_lt", 100), "head")])
    assert row(open_, "requests_per_s").gated is False
    closed = [[with_swarm(t, load=closed_load) for t in sampled("epoll_lt", 100, seed=s)] for s in (1, 2)]
    made = compare(run(closed[0]), [run(closed[1], "head")])
    assert row(made, "requests_per_s").gated is True
    assert row(made, "requests_per_s").worse == "lower"


def test_a_metric_that_was_asked_for_and_not_measured_is_inconclusive():
    few = [
        [with_load(t, response_hdr=hdr({1000: 1}, 5000)) for t in sampled("epoll_lt", 100, seed=s)]
        for s in (1, 2)
    ]
    runs = [run(few[0]), run(few[1], "head")]
    assert compare(runs[0], runs[1:]).decision == "OK"
    asked = compare(runs[0], runs[1:], Gate(("cpu_us_per_request", "response_p99_ms")))
    assert asked.decision == "INCONCLUSIVE"
    assert "too few samples" in row(asked, "response_p99_ms").says


def test_across_machines_nothing_is_better_than_inconclusive():
    base, head = run(sampled("epoll_lt", 100)), run(sampled("epoll_lt", 150, seed=2), "head")
    made = compare(base, [other_machine(head, cpu_model="Another CPU")])
    assert made.decision == "INCONCLUSIVE"
    assert row(made).ratio == pytest.approx(1.5, rel=0.05)
    first = made.heads[0].drift[0]
    assert (first.fact, first.matters, first.head) == ("environment.host.cpu_model", True, "Another CPU")
    assert "every decision is INCONCLUSIVE" in made.heads[0].notes[0]


def test_a_run_merged_of_several_machines_decides_nothing():
    both = run(sampled("epoll_lt", 100)), run(sampled("epoll_lt", 150, seed=2), "head")
    base, head = (replace(one, manifest=one.manifest.replaced(machines=2)) for one in both)
    made = compare(base, [head])
    assert (made.decision, row(made).decision) == ("INCONCLUSIVE", "INCONCLUSIVE")
    assert f"the machines of {base.id}" in made.heads[0].blocked
    assert "cannot be compared" in (made.refusal or "")
    assert compare(both[0], [both[1]]).decision == "REGRESSION"


def test_a_new_kernel_is_shown_and_allowed():
    base, head = run(sampled("epoll_lt", 100)), run(sampled("epoll_lt", 100, seed=2), "head")
    made = compare(base, [other_machine(head, kernel="6.19.0")])
    assert [(d.fact, d.matters) for d in made.heads[0].drift] == [("environment.host.kernel", False)]
    assert made.decision == "OK"


def test_another_load_is_another_experiment():
    busier = [with_swarm(t, users=2 * records.USERS) for t in sampled("epoll_lt", 100, seed=2)]
    busier = [with_load(t, connected_peak=2 * records.USERS) for t in busier]
    made = compare(run(sampled("epoll_lt", 100)), [run(busier, "head")])
    assert made.decision == "INCONCLUSIVE"
    assert made.heads[0].drift[0].fact == "load.swarm.users"


def test_several_heads_at_once_the_worst_decides():
    heads = [run(sampled("epoll_lt", cpu, seed=cpu), f"head{cpu}") for cpu in (100, 130)]
    made = compare(run(sampled("epoll_lt", 100)), heads)
    assert [(head.head, head.decision) for head in made.heads] == [
        ("head100", "OK"),
        ("head130", "REGRESSION"),
    ]
    assert made.exit_code == 99
    assert any("one after the other" in note for note in made.heads[0].notes)


def test_two_servers_of_one_run_are_interleaved():
    servers = {name: {"model": "epoll_lt", "backlog": 4096} for name in ("base", "head")}
    mixed = [t for name, cpu in (("base", 100), ("head", 120)) for t in sampled(name, cpu)]
    mixed = [records.with_scenario(t, servers=servers) for t in mixed]
    made = compare_within(run(mixed), "base", "head")
    assert made.decision == "REGRESSION"
    server = made.heads[0].servers[0]
    assert (server.server, server.head_server, server.pairs) == ("base", "head", PAIRS)
    assert made.heads[0].notes == ()
    assert made.heads[0].drift == ()


def test_runs_without_a_server_in_common_say_so():
    made = compare(run(sampled("epoll_lt", 100)), [run(sampled("poll", 100), "head")])
    assert made.decision == "INCONCLUSIVE"
    assert any("no server" in note for note in made.heads[0].notes)
    assert "no server, at the same sweep point, is in both runs" in (made.refusal or "")


def test_a_bootstrap_interval_is_shown_from_thirty_pairs():
    runs = [run(sampled("epoll_lt", 100, pairs=30, seed=seed), f"run{seed}") for seed in (1, 2)]
    cpu = row(compare(runs[0], runs[1:]))
    assert cpu.bootstrap95 is not None
    assert cpu.bootstrap95[0] <= 1.01
    assert (
        row(compare(*[run(sampled("epoll_lt", 100)), [run(sampled("epoll_lt", 100), "h")]])).bootstrap95
        is None
    )


def test_metric_names_are_unique():
    assert len(set(comparing.NAMES)) == len(comparing.METRICS)
