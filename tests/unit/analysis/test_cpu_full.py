"""A full CPU has no cost per request: a lower bound, wherever a cost is shown, judged or compared."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lab.analysis.checks import check_trial
from lab.analysis.comparison import compare
from lab.analysis.cpu import may_use
from lab.analysis.figures import figures
from lab.analysis.growth import curves
from lab.analysis.model import ServerSummary, Summary, is_lower_bound
from lab.analysis.summary import summarise
from lab.analysis.thresholds import judge_trial
from lab.common.figures import BY_NAME
from lab.report.content import explain, sweeps, text
from lab.report.openmetrics import openmetrics
from lab.results.record import TrialRecord
from lab.scenario.threshold import parse
from tests.support import compared_runs, records
from tests.support.records import RATE, counter, judged, series, trial, with_scenario

COST = BY_NAME["cpu_us_per_request"]
CPU = ("server", "cgroup", "cpu_us")


def using(cores: float, name: str = "epoll_lt/1", **changes: object) -> TrialRecord:
    """A trial in which the server used so many CPUs, all the time."""
    return replace(trial(name, **changes), series=series({CPU: counter(1, cores * 1e6)}))


def with_server(record: TrialRecord, **settings: object) -> TrialRecord:
    """The same with other settings of its server."""
    servers = {record.server: {"model": record.model, **settings}}
    return with_scenario(record, servers=servers)


@pytest.mark.parametrize(
    ("cores", "cell"),
    [(0.5, "250"), (0.9, "450 (CPU 90.0 %)"), (0.97, "≥\u00a0485 (CPU full)")],
)
def test_a_cost_is_told_with_air_marked_when_nearly_full_and_bounded_when_full(
    cores: float, cell: str
) -> None:
    assert text.cell(figures(using(cores)), COST) == cell


def test_a_full_cpu_is_a_limit_and_keeps_the_verdict() -> None:
    summary = judged(using(0.99))
    [finding] = [f for f in summary.findings if f.check == "cpu_full"]
    assert finding.level == "limit"
    assert summary.verdict == "PASS"
    assert [f for f in judged(using(0.9)).findings if f.check == "cpu_full"] == []


@pytest.mark.parametrize(
    ("record", "cpus"),
    [
        (trial(), 1.0),
        (trial(placement={"server": "0-3", "swarm": "4"}), 1.0),
        (with_server(trial(placement={"server": "0-3", "swarm": "4"}), workers=2), 2.0),
        (with_server(trial(), cpus=0.25), 0.25),
        (with_server(trial(placement={"server": "0-3", "swarm": "4"}, model="process")), 4.0),
        (trial(placement=None), None),
    ],
)
def test_the_cpus_of_a_server_are_those_of_set_quota_and_workers(
    record: TrialRecord, cpus: float | None
) -> None:
    assert may_use(record) == cpus


def test_a_quota_counts() -> None:
    assert figures(with_server(using(0.245), cpus=0.25)).cpu_at_least
    assert not figures(with_server(using(0.20), cpus=0.25)).cpu_at_least
    assert figures(with_server(using(0.22), cpus=0.25)).cpu_share == pytest.approx(0.88)


def test_unknown_cpus_are_no_full_cpu_and_no_air() -> None:
    found = figures(using(0.99, placement=None))
    assert (found.cpu_share, found.cpu_at_least) == (None, None)
    [finding] = [f for f in check_trial(using(0.99, placement=None)) if f.check == "cpu_full"]
    assert finding.level == "unknown"


@pytest.mark.parametrize(
    ("text_", "holds"),
    [("value<400us", False), ("value<485us", False), ("value<600us", None), ("value>400us", True)],
)
def test_a_threshold_sees_the_bound(text_: str, holds: bool | None) -> None:
    record = using(0.97)
    seen = judge_trial(parse("cpu_us_per_request", text_), record, figures(record))
    assert (seen.holds, seen.at_least) == (holds, True)
    assert seen.says == "a lower bound: the CPU was full"


def test_the_median_of_trials_is_a_bound_where_one_may_move_it() -> None:
    one = judged(using(0.5), using(0.5, "epoll_lt/2"), using(0.97, "epoll_lt/3")).servers["epoll_lt"]
    most = judged(using(0.5), using(0.97, "epoll_lt/2"), using(0.97, "epoll_lt/3")).servers["epoll_lt"]
    assert (is_lower_bound(one, COST), is_lower_bound(most, COST)) == (False, True)
    assert text.cell(most, COST) == "≥\u00a0485 (CPU full) (n\u00a03)"


def swept(*cores: float) -> Summary:
    """A sweep: a value for each share of a CPU, twice."""
    trials = []
    for place, each in enumerate(cores):
        for repeat in (1, 2):
            users = 125 * 4**place
            point = {"swarm.users": users}
            trials.append(using(each, f"epoll_lt,swarm.users={users}/{repeat}", point=point))
    return judged(*trials)


def test_a_saturated_point_is_in_no_law_and_the_reason_is_said() -> None:
    assert swept(0.73, 0.99, 0.99).curves == (), "one point with air is no curve"
    [curve] = [c for c in swept(0.2, 0.4, 0.6, 0.99).curves if c.metric == "cpu_us_per_request"]
    assert len(curve.points) == 3
    assert (curve.limit_met_at, curve.lower_bound_at) == (8000, 8000)
    [told] = [row for row in sweeps.laws(swept(0.2, 0.4, 0.6, 0.99)) if row[1] == COST.noun]
    assert told[4].endswith("it reached its limit at 8,000; the CPU was full at 8,000")


def test_the_greatest_rate_with_air_is_named() -> None:
    sentences = text.limits_met(swept(0.2, 0.4, 0.99).servers)
    assert sentences == [
        "epoll_lt,swarm.users=2000: used 99.0 % of its CPUs, so its CPU time per request is a lower bound; "
        f"{RATE:,}/s were done with air (below 85.0 %)."
    ]
    assert "no point of this run had air" in text.limits_met(swept(0.99).servers)[0]


def test_a_saturated_side_decides_no_comparison() -> None:
    base, head = (
        compared_runs.run([using(cores, f"epoll_lt/{n}") for n in range(1, 13)]) for cores in (0.97, 0.99)
    )
    made = compare(base, [head])
    [row] = [row for row in made.heads[0].servers[0].metrics if row.metric == "cpu_us_per_request"]
    assert (row.base_at_least, row.head_at_least, row.decision) == (True, True, "INCONCLUSIVE")
    assert row.says == "a lower bound in the head: the CPU was full"


def test_a_saturated_server_is_in_no_ranking() -> None:
    low = ServerSummary(server="a", trials_valid=1, cpu_us_per_request=5.0)
    high = ServerSummary(
        server="b", trials_valid=1, cpu_us_per_request=500.0, cpu_share=0.99, cpu_at_least=True
    )
    found = explain.sentences(Summary(run="r", scenario="s", servers={"a": low, "b": high}))
    assert found == ["CPU time per request of b is in no ranking: the CPU was full."]


def test_openmetrics_has_the_bound_in_a_family_of_its_own() -> None:
    lines = openmetrics(judged(using(0.97))).splitlines()
    names = [line.partition("{")[0] for line in lines if line.startswith("lab_cpu_per_request")]
    assert names == ["lab_cpu_per_request_lower_bound_seconds"]


def polling(cores: float = 1.0) -> TrialRecord:
    """A trial of the model that polls by design."""
    servers = {"epoll_lt": {"model": "nonblocking"}}
    return with_scenario(using(cores, model="nonblocking"), servers=servers)


def test_a_model_that_polls_has_cpu_while_waiting_instead() -> None:
    found = figures(polling())
    assert (found.cpu_us_per_request, found.cpu_at_least) == (None, False)
    assert found.cpu_cores_waiting == pytest.approx(1.0)
    assert text.cell(found, COST) == "1.00\u00a0CPUs waiting"
    assert [f for f in check_trial(polling()) if f.check == "cpu_full"] == []
    judged_ = judge_trial(parse("cpu_us_per_request", "value<1ms"), polling(), found)
    assert judged_.holds is None
    assert "the model polls" in judged_.says


def test_cpu_while_waiting_is_unknown_where_it_was_not_sampled_for_a_second() -> None:
    late = {CPU: [(t, v) for t, v in counter(1, 1e6) if t > records.START_MS - 900]}
    assert figures(replace(polling(), series=series(late))).cpu_cores_waiting is None
    assert text.cell(figures(replace(polling(), series=series(late))), COST) == text.NOTHING


def test_curves_take_a_trial_with_air_only() -> None:
    servers = summarise(records.run(using(0.2))).servers.values()
    assert list(curves(servers, ())) == []
