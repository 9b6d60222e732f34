"""Requests without an answer are slow answers: quantiles see them, and so do thresholds, laws and reports."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from lab.analysis.checks import check_trial
from lab.analysis.comparison import compare
from lab.analysis.figures import figures
from lab.analysis.growth import curves
from lab.analysis.histogram import Outcomes, response_times, service_times
from lab.analysis.model import Quantiles
from lab.analysis.summary import summarise
from lab.analysis.thresholds import judge_trial
from lab.report.content import sweeps, text, thresholds
from lab.report.junit import junit
from lab.report.openmetrics import openmetrics
from lab.results.load import Counts
from lab.results.record import TrialRecord
from lab.scenario.threshold import parse
from tests.support import compared_runs, records
from tests.support.records import RESPONSE, N, hdr, judged, trial, with_load, with_scenario

TIMEOUT_US = 5_000_000


def gave_up(
    share: float, waited_us: int | None = TIMEOUT_US, name: str = "epoll_lt/1", *, unsent: bool = False
) -> TrialRecord:
    """A trial in which this share of the requests had no answer after such a wait (None: not recorded)."""
    without = round(N * share)
    answers = hdr(RESPONSE, N - without)
    waited = None if waited_us is None else hdr({waited_us: 1}, without)
    outcomes = {"failed": 0 if unsent else without, "unsent": without if unsent else 0}
    whole = {
        **records.result()["whole"],
        "answered": records.ALL - without,
        **outcomes,
        "completed": records.ALL - without,
    }
    whole["sent"] = records.ALL - outcomes["unsent"]
    return with_load(
        trial(name), answered=N - without, sent=N - outcomes["unsent"], **outcomes, whole=whole,
        response_hdr=answers, service_hdr=answers, response_censored_hdr=waited,
        service_censored_hdr=None if unsent else waited,
        locust={"requests": whole["sent"], "failures": outcomes["failed"]},
    )  # fmt: skip


def test_a_quantile_below_the_missing_answers_is_that_of_all_requests() -> None:
    seen = figures(gave_up(0.005)).response_ms
    assert (seen.samples, seen.unanswered, seen.at_least) == (N - 100, 100, ())
    assert seen.p99 == pytest.approx(3.0, rel=1e-3), "1 % of the answers took 3 ms, and 0.5 % were none"
    assert figures(trial()).response_ms.p99 == pytest.approx(1.2, rel=1e-3)


@pytest.mark.parametrize("unsent", [False, True])
def test_a_quantile_among_them_is_a_lower_bound(unsent: bool) -> None:
    seen = figures(gave_up(0.02, unsent=unsent)).response_ms
    assert seen.at_least == ("p99",)
    assert seen.p99 == pytest.approx(5000, rel=1e-3)
    assert seen.p95 == pytest.approx(1.2, rel=1e-3)
    assert text.quantile(seen, "p99") == "≥\u00a04,997"


def test_service_time_takes_the_failed_and_not_what_was_never_sent() -> None:
    assert figures(gave_up(0.02)).service_ms.at_least == ("p99",)
    assert figures(gave_up(0.02, unsent=True)).service_ms.at_least == ()


def test_where_waiting_times_are_unknown_the_bound_is_what_is_certain() -> None:
    seen = figures(gave_up(0.02, waited_us=None)).response_ms
    assert (seen.at_least, seen.p99) == (("p99",), pytest.approx(1.2, rel=1e-3))
    nothing = figures(gave_up(1.0, waited_us=None)).response_ms
    assert (nothing.at_least, nothing.p50) == (("p50", "p90", "p95", "p99"), None)
    assert text.quantile(nothing, "p50") == "unknown"


def test_short_waits_bound_less_than_slow_answers_do() -> None:
    """A refused request says nothing of a second: the bound is not above what half of all took or waited."""
    seen = Outcomes.of([hdr({40_000: 1}, 60)], [hdr({100: 1}, 40)], 40)
    assert (seen.quantile(50).at_least, seen.quantile(50).us) == (False, pytest.approx(40_000, rel=1e-3))
    assert (seen.quantile(99).at_least, seen.quantile(99).us) == (True, pytest.approx(40_000, rel=1e-3))


def test_what_the_window_holds_so_far_counts_what_has_its_outcome() -> None:
    so_far = Counts(
        intended=100, sent=100, answered=50, failed=10, unsent=0, response_hdr=hdr({1000: 1}, 50),
        response_censored_hdr=hdr({TIMEOUT_US: 1}, 10),
    )  # fmt: skip
    assert (response_times(so_far).samples, service_times(so_far).samples) == (60, 10)


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("p(99)<1s", False),
        ("p(99)<=4.9s", False),
        ("p(99)<6s", None),
        ("p(99)>1s", True),
        ("p(99)>6s", None),
        ("p(99)!=1s", True),
        ("p(99)==1s", False),
        ("p(99)==6s", None),
        ("p(95)<2ms", True),
        ("max<1s", False),
        ("max<6s", None),
        ("avg<50ms", False),
        ("avg<200ms", None),
        ("min<2ms", True),
    ],
)
def test_a_threshold_sees_the_bound(condition: str, holds: bool | None) -> None:
    made = gave_up(0.02)
    judged_ = judge_trial(parse("latency", condition), made, figures(made))
    assert judged_.holds is holds
    if judged_.at_least:
        assert "400 of 20,000 requests had no answer" in judged_.says


def gated(made: TrialRecord, *conditions: str) -> TrialRecord:
    return with_scenario(made, thresholds={"epoll_lt": {"latency": list(conditions)}})


@pytest.mark.parametrize(
    ("conditions", "verdict", "code"),
    [
        (["p(99.5)<1s"], "FAIL", 99),
        (["p(99.5)<6s"], "INCONCLUSIVE", 5),
        (["p(99.5)<6s", "p(99.5)<1s"], "FAIL", 99),
        (["p(99.9)<9s", "p(50)<0.1ms"], "FAIL", 99),
        (["p(99.5)>1s"], "PASS", 0),
    ],
    ids=["failed", "cannot be told", "both", "too few samples and failed", "held"],
)
def test_a_threshold_that_failed_comes_before_one_that_cannot_be_told(
    conditions: list[str], verdict: str, code: int
) -> None:
    summary = judged(gated(gave_up(0.008), *conditions))
    assert (summary.verdict, summary.exit_code) == (verdict, code)


def test_reports_say_that_it_is_a_bound_or_cannot_be_told() -> None:
    made = gated(gave_up(0.008), "p(99.5)<1s", "p(99.5)<6s")
    summary = judged(made)
    told, untold = thresholds.rows(summary)
    assert (told[3], untold[3]) == ("no", "cannot be decided")
    assert told[6] == untold[6] == "≥\u00a04,997"
    document = junit(records.run(made), summary)
    assert "did not hold: server epoll_lt, metric latency, threshold p(99.5)&lt;1s, " in document
    assert "cannot be decided: server epoll_lt, metric latency, threshold p(99.5)&lt;6s, " in document


def test_openmetrics_tells_a_bound_apart() -> None:
    summary = summarise(records.run(gave_up(0.02)))
    lines = [line for line in openmetrics(summary).splitlines() if '="0.99"' in line]
    assert [line.partition("{")[0] for line in lines] == [
        "lab_response_lower_bound_seconds",
        "lab_service_lower_bound_seconds",
    ]
    assert float(lines[0].split()[-1]) == pytest.approx(5.0, rel=1e-3)


@pytest.mark.parametrize(
    ("shares", "at_least"),
    [([0.02], True), ([0.0, 0.0, 0.02], False), ([0.0, 0.02, 0.02], True), ([0.0, 0.02], True)],
)
def test_a_median_over_trials_is_a_bound_where_one_may_move_it(shares: list[float], at_least: bool) -> None:
    trials = [gave_up(share, name=f"epoll_lt/{i}") for i, share in enumerate(shares, 1)]
    found = summarise(records.run(*trials)).servers["epoll_lt"].response_ms
    assert ("p99" in found.at_least) is at_least
    assert found.p99 is not None
    assert math.isfinite(found.p99)


def swept(users: int, share: float) -> TrialRecord:
    key = f"epoll_lt,swarm.users={users}/1"
    return replace(gave_up(share), id=key, point={"swarm.users": users})


def test_a_bound_is_no_point_of_a_law_and_the_reason_is_said() -> None:
    summary = summarise(records.run(*(swept(u, s) for u, s in ((10, 0.0), (20, 0.0), (30, 0.0), (40, 0.02)))))
    p99 = next(c for c in curves(summary.servers.values(), ()) if c.metric == "response_p99_ms")
    assert [point.x for point in p99.points] == [10, 20, 30]
    assert p99.lower_bound_at == 40
    [row] = sweeps.laws(summary.model_copy(update={"curves": (p99,)}))
    assert row[4].endswith("; too many requests without an answer at 40")
    drawn = sweeps.sweep(summary)
    assert drawn is not None
    assert [row["response_p99_ms"] for row in drawn["rows"]][-1] is None


def test_no_decision_rests_on_a_bound_being_low() -> None:
    """Where the head answered less it is not OK; where the base did, a slower head is no regression."""

    def refused(made: TrialRecord) -> TrialRecord:
        """Its last requests were refused at once: the quantile is among them, and no higher than before."""
        assert made.load is not None
        lost = N // 50
        answers = hdr({1000: 60, 1200: 40}, N - lost)
        return with_load(
            made, answered=N - lost, failed=lost, response_hdr=answers,
            response_censored_hdr=hdr({100: 1}, lost),
        )  # fmt: skip

    sound = compared_runs.sampled("epoll_lt", 20)
    bounded = [refused(made) for made in sound]
    assert figures(bounded[0]).response_ms.at_least == ("p99",)
    base, head = (compared_runs.run(trials, name) for trials, name in ((sound, "base"), (bounded, "head")))
    assert all(
        not [f for f in check_trial(t) if f.check == "steady" and f.level == "invalid"] for t in bounded
    )
    made = compare(base, [head])
    row = next(r for r in made.heads[0].servers[0].metrics if r.metric == "response_p99_ms")
    assert (row.base_at_least, row.head_at_least) == (False, row.pairs > 0)
    assert row.decision == "INCONCLUSIVE"


def test_quantiles_of_a_run_from_before_still_read() -> None:
    assert Quantiles.model_validate({"samples": 3, "mean": 1.0}).at_least == ()
