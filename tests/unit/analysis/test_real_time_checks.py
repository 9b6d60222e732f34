"""The real-time class of engines and delay lines: throttling is told from other waits; facts; differences."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lab.analysis import checks, scheduling
from lab.analysis.env_diff import differences
from lab.analysis.model import Finding
from lab.results.record import TrialRecord
from tests.support import records
from tests.support.records import START_MS, counter, judged, run, scheduled, series, trial

LINE = scheduled("delay line", node="net-worker-0", pid=42)


def found(record: TrialRecord) -> list[Finding]:
    return [one for one in checks.check_trial(record) if one.check == "real_time_throttled"]


def sampled(pid: int, node: str, cpu: int = 0, budget_us: float = 950_000, **per_s: float) -> dict[Any, Any]:
    rates = {"ran_us": 0.0, "waited_us": 0.0, **per_s}
    points = {(node, "realtime", f"{name}/{pid}"): counter(0, rate) for name, rate in rates.items()}
    times = [time for time, _ in counter(0, 0)]
    gauges = {"cpu": cpu, "budget_us": budget_us}
    more = {
        (node, "realtime", f"{name}/{pid}"): [(t, value) for t in times] for name, value in gauges.items()
    }
    return points | more


def with_line(engine: dict[str, float], line: dict[str, float], line_cpu: int = 0) -> TrialRecord:
    changes = sampled(41, "worker-0", **engine) | sampled(42, "net-worker-0", line_cpu, **line)
    return replace(trial(), scheduling=(scheduled(), LINE), series=series(changes))


def test_a_wait_for_another_real_time_task_on_its_cpu_is_no_throttling() -> None:
    assert found(with_line({"ran_us": 6e5, "waited_us": 2e5}, {"ran_us": 3e5, "waited_us": 1e5})) == []


def test_the_same_wait_is_one_where_the_other_task_ran_elsewhere() -> None:
    engine, line = {"ran_us": 6e5, "waited_us": 2e5}, {"ran_us": 3e5, "waited_us": 0.0}
    [finding] = found(with_line(engine, line, line_cpu=1))
    assert finding.level == "invalid"
    assert "worker-0: engine 0 was throttled for" in finding.says
    assert "950 of 1000 ms" in finding.says


def test_a_budget_that_two_tasks_use_up_together_holds_both_back() -> None:
    engine, line = {"ran_us": 5.5e5, "waited_us": 4.4e5}, {"ran_us": 4e5, "waited_us": 5.95e5}
    assert [finding.level for finding in found(with_line(engine, line))] == ["invalid", "invalid"]


def test_waits_far_from_the_end_of_the_budget_are_none() -> None:
    """Many wake-ups, or the kernel's own real-time threads."""
    changes = sampled(41, "worker-0", ran_us=2e5, waited_us=3e4)
    assert found(replace(trial(), series=series(changes))) == []


def test_one_throttled_second_of_the_ramp_is_seen() -> None:
    times = [time for time, _ in counter(0, 0)]
    at = START_MS - 1500  # ran for 0.3 s within one second, then waited for 0.7
    ran = [(time, 3e5 if time > at - 500 else 0.0) for time in times]
    waited = [(time, 7e5 if time > at + 500 else 0.0) for time in times]
    changes = sampled(41, "worker-0", budget_us=300_000) | {
        ("worker-0", "realtime", "ran_us/41"): ran,
        ("worker-0", "realtime", "waited_us/41"): waited,
    }
    [finding] = found(replace(trial(), series=series(changes)))
    assert (finding.level, finding.value) == ("invalid", 700.0)


def test_a_process_that_was_not_sampled_is_unknown() -> None:
    changes = {
        ("worker-0", "realtime", f"{name}/41"): None for name in ("ran_us", "waited_us", "cpu", "budget_us")
    }
    [finding] = found(replace(trial(), series=series(changes)))
    assert (finding.level, "not every real-time process" in finding.says) == ("unknown", True)


@pytest.mark.parametrize("known", [None, (scheduled("engine 0", policy="SCHED_OTHER"),)])
def test_without_the_class_nothing_is_asked(known: Any) -> None:
    assert "real_time_throttled" not in judged(replace(trial(), scheduling=known)).checks


def test_a_maximum_rate_of_another_class_is_not_compared() -> None:
    other = records.trial(calibration={"ceiling_per_s": 2010.0, "policy": "SCHED_OTHER"})
    [finding] = [f for f in checks.check_trial(other) if f.check == "generator_ceiling"]
    assert (finding.level, "SCHED_OTHER" in finding.says) == ("unknown", True)


def test_the_classes_are_facts_of_the_environment() -> None:
    usual = scheduled(
        "delay line", policy="SCHED_OTHER", why_not="not root", by=None, runtime_us=None, period_us=None
    )
    record = replace(trial(), scheduling=(scheduled(), usual, scheduled("server")))
    assert scheduling.facts([record]) == {
        "engines": "SCHED_RR (set from outside; 950 ms in 1000 on each CPU)",
        "delay_lines": "SCHED_OTHER (not root)",
        "server": "SCHED_OTHER",
    }
    assert judged(record).environment["scheduling"]["delay_lines"] == "SCHED_OTHER (not root)"


def test_a_class_that_changed_under_load_is_told() -> None:
    record = replace(trial(), scheduling=(scheduled(policy_at_end="SCHED_OTHER"),))
    assert scheduling.policies([record]) == {"engines": "SCHED_RR, later SCHED_OTHER"}


def test_runs_whose_engines_ran_in_different_classes_differ_in_what_matters() -> None:
    usual = replace(trial(), scheduling=(scheduled(policy="SCHED_OTHER"), scheduled("server")))
    [drift] = list(differences(run(trial()), run(usual)))
    assert (drift.fact, drift.base, drift.head) == (
        "environment.scheduling.engines",
        "SCHED_RR",
        "SCHED_OTHER",
    )
    assert drift.matters


def test_runs_of_one_class_do_not_differ() -> None:
    assert list(differences(run(trial()), run(trial()))) == []
