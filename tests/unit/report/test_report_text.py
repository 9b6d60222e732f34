"""Figures and words, the same in every report."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from lab.analysis.model import (
    Errors,
    Estimate,
    Finding,
    GroupSummary,
    Interval,
    Quantiles,
    ServerSummary,
    Summary,
    TrialFigures,
)
from lab.analysis.summary import summarise
from lab.analysis.verdict import judge
from lab.common.figures import BY_NAME
from lab.report.content import explain, findings, groups, text
from lab.report.content.server_order import in_order
from lab.report.html import html
from lab.report.markdown import markdown
from lab.report.terminal import table
from lab.results.record import Run
from tests.support import compared_runs, judged, records


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "—"), (0, "0"), (0.0404, "0.040"), (0.3124, "0.312"), (0.99951, "1.00"), (1.006, "1.01"),
     (9.996, "10.0"), (41.04, "41.0"), (99.96, "100"),
     (2000.4, "2,000"), (172_000.0, "172,000"), (-3.5, "-3.50")],
)  # fmt: skip
def test_number_has_three_significant_digits(value: float | None, shown: str) -> None:
    assert text.number(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "—"), (0, "0 B"), (512, "512 B"), (1024, "1.00 KiB"), (48_333, "47.2 KiB"),
     (1.4 * 2**30, "1.40 GiB"), (2**50, "1,048,576 GiB")],
)  # fmt: skip
def test_size(value: float | None, shown: str) -> None:
    assert text.size(value) == shown


def test_percent_never_rounds_an_error_away() -> None:
    assert text.percent(0.0) == "0 %"
    assert text.percent(0.00001) == "< 0.01 %"
    assert text.percent(0.125) == "12.5 %"


def test_a_quantile_without_support_says_what_it_needs() -> None:
    few = Quantiles(samples=9_999, p50=1.0)
    assert text.quantile(few, "p50") == "1.00"
    assert text.quantile(few, "p99") == "n/a (needs 10,000)"
    assert text.quantile(Quantiles(), "p99") == text.NOTHING


@given(st.text())
def test_clean_text_is_one_line_that_no_terminal_obeys(anything: str) -> None:
    line = text.clean(anything)
    assert line.isprintable() or not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in line)
    assert "\n" not in line
    assert "\x1b" not in line
    line.encode("utf-8")


def test_clean_keeps_words_and_drops_what_reorders_them() -> None:
    assert text.clean("a\tb\nc\x1b[31m \u202eevil\u2069 ü") == "a b c[31m evil ü"


def test_aligned_puts_points_below_each_other() -> None:
    assert text.aligned(["1,234", "5.25", "0.1", "—", "n/a (needs 20)"]) == [
        "1,234   ", "5.25", "0.1 ", "—", "n/a (needs 20)",
    ]  # fmt: skip
    assert text.aligned(["1", "20"]) == ["1", "20"]


def test_findings_come_worst_first_and_known_limits_last() -> None:
    _, summary = judged.golden()
    shown = [findings.level_word(finding) for finding in findings.in_order(summary)]
    assert shown == ["invalid", "fail", "unknown", "suspect", "expected"]


def test_findings_of_one_check_are_told_once() -> None:
    many = tuple(
        Finding(check="lag", level="suspect", trial=f"s{n}/1", says="lagged", do="rest") for n in range(8)
    )
    other = Finding(check="lag", level="invalid", says="lagged badly")
    told = findings.groups(Summary(run="r", scenario="s", findings=(*many, other)))
    assert [(group.word, group.first) for group in told] == [
        ("invalid", "lagged badly"),
        ("suspect", "s0/1: lagged"),
    ]
    assert told[0].more == ""
    assert told[1].more == "(also in s1/1, s2/1, s3/1, s4/1 and 3 more trials)"
    assert told[1].do == "rest"


def test_a_known_limit_stands_for_what_follows_from_it() -> None:
    checks = [
        ("errors", "select/1"),
        ("steady", "select/1"),
        ("known_limit", "select/1"),
        ("known_limit", "blocking/1"),
    ]
    found = tuple(
        Finding(check=check, level="invalid", trial=trial, says=check, expected=True)
        for check, trial in checks
    )
    told = findings.groups(Summary(run="r", scenario="s", findings=found))
    assert [(group.word, group.check, group.first, group.more) for group in told] == [
        ("expected", "known_limit", "select/1: known_limit", "(and 2 other findings)"),
        ("expected", "known_limit", "blocking/1: known_limit", ""),
    ]


def test_servers_come_by_point_then_by_the_catalog() -> None:
    shuffled = [("b", "thread", 100), ("a", "epoll_lt", 20), ("c", "blocking", 100), ("d", None, 20)]
    servers = {
        f"{name},users={users}": ServerSummary(server=name, model=model, point={"swarm.users": users})
        for name, model, users in shuffled
    }
    ordered = in_order(Summary(run="r", scenario="s", servers=servers))
    assert list(ordered.servers) == ["a,users=20", "d,users=20", "c,users=100", "b,users=100"]


def test_a_server_with_invalid_trials_only_says_so_beside_its_figures() -> None:
    trial = TrialFigures(trial="poll/1", status="ok", requests_per_s=5.0)
    server = ServerSummary(server="poll", trials=1, trials_valid=0, per_trial=(trial,))
    assert text.label("poll", server) == "poll (invalid)"
    assert text.failure(server) is None


def test_a_server_without_any_measurement_tells_why() -> None:
    trial = TrialFigures(trial="poll/1", status="failed", reason="never ready")
    server = ServerSummary(server="poll", trials=1, per_trial=(trial,))
    assert text.label("poll", server) == "poll"
    assert text.failure(server) == "never ready"
    assert text.row(server) == [text.NOTHING] * len(text.COLUMNS)


def test_facts_show_units_by_name() -> None:
    nested = {"delay_ms": 20.0, "memory_bytes": 2048, "cpus": [0, 1], "nothing": None, "deep": {"on": True}}
    assert list(text.leaf_texts(nested)) == [
        ("delay_ms", "20"),
        ("memory_bytes", "2.00 KiB"),
        ("cpus", "0 1"),
        ("deep.on", "yes"),
    ]
    assert list(text.leaf_texts({"empty": {}})) == []


def _server(name: str, **figures: object) -> ServerSummary:
    trial = TrialFigures(trial=f"{name}/1", status="ok")
    return ServerSummary(server=name, trials=1, trials_valid=1, per_trial=(trial,), **figures)  # type: ignore[arg-type]


def _summary(*servers: ServerSummary) -> Summary:
    return Summary(run="r", scenario="s", servers={server.server: server for server in servers})


def test_why_names_who_pays_and_what_differs_with_it() -> None:
    cheap = _server(
        "epoll_lt", cpu_us_per_request=5.0, switches_per_request=0.4, syscalls_per_request={"read": 2.0}
    )
    dear = _server(
        "thread", cpu_us_per_request=12.0, switches_per_request=2.0, syscalls_per_request={"read": 2.1}
    )
    assert explain.sentences(_summary(cheap, dear)) == [
        "CPU time per request: thread has 12.0 µs, 2.40 × epoll_lt (5.00 µs; one trial each). "
        "thread had 2.00 context switches a request; epoll_lt had 0.400."
    ]


def test_why_is_silent_about_small_differences_and_failing_servers() -> None:
    close = (_server("a", cpu_us_per_request=5.0), _server("b", cpu_us_per_request=6.0))
    failing = _server("c", cpu_us_per_request=90.0, errors=Errors(rate=0.6))
    assert explain.sentences(_summary(*close, failing)) == []
    assert explain.sentences(_summary(close[0], failing)) == [
        "At least two servers with valid figures are needed to explain a difference. "
        "Left out: c: failed 60.0 % of its requests."
    ]
    invalid = ServerSummary(server="poll", trials=1, per_trial=close[0].per_trial)
    unmeasured = ServerSummary(server="select", trials=1)
    assert explain.sentences(_summary(close[0], invalid, unmeasured))[0].endswith(
        "Left out: poll: invalid; select: no figures."
    )


def test_why_admits_that_nothing_counted_differs() -> None:
    said = explain.sentences(_summary(_several("a", 5.0, 4.9, 5.2), _several("b", 9.0, 8.7, 9.4)))
    assert said == [
        "CPU time per request: b has 9.00 µs, 1.80 × a (5.00 µs). No counted figure differs as much."
    ]


def _several(name: str, cpu_us: float, low: float, high: float) -> ServerSummary:
    intervals = {"cpu_us_per_request": Interval(n=7, low=low, high=high)}
    return _server(name, cpu_us_per_request=cpu_us, intervals=intervals)


def test_one_trial_each_ranks_nothing_below_a_factor_of_two() -> None:
    """One and the same server took 29 to 45 µs in trials of a quiet host."""
    low, high = _server("a", cpu_us_per_request=29.0), _server("b", cpu_us_per_request=45.0)
    assert explain.sentences(_summary(low, high)) == []
    [said] = explain.sentences(_summary(low, _server("b", cpu_us_per_request=58.0)))
    assert said.startswith("CPU time per request: b has 58.0 µs, 2.00 × a (29.0 µs; one trial each).")
    [said] = explain.sentences(_summary(low, _several("b", 58.0, 57.0, 59.0)))
    assert "one trial of a)" in said
    assert explain.sentences(_summary(low, _several("b", 45.0, 44.0, 46.0))) == []


def test_of_one_trial_each_a_cause_must_differ_by_two_as_well() -> None:
    low = _server("a", cpu_us_per_request=10.0, switches_per_request=1.0)
    high = _server("b", cpu_us_per_request=30.0, switches_per_request=1.8)
    assert explain.sentences(_summary(low, high))[0].endswith("No counted figure differs as much.")


def test_several_trials_rank_only_what_lies_apart() -> None:
    apart = _summary(_several("a", 5.0, 4.0, 6.0), _several("b", 9.0, 6.1, 9.4))
    together = _summary(_several("a", 5.0, 4.0, 6.2), _several("b", 9.0, 6.1, 9.4))
    assert [len(explain.sentences(one)) for one in (apart, together)] == [1, 0]


def test_a_lower_bound_is_ranked_nowhere() -> None:
    bound = Quantiles(samples=20_000, unanswered=900, p99=5000.0, at_least=("p99",))
    exact = Quantiles(samples=20_000, p99=5.0)
    found = explain.sentences(_summary(_server("a", response_ms=exact), _server("b", response_ms=bound)))
    assert found == ["p99 response time of b is in no ranking: too many requests without an answer."]


@pytest.mark.parametrize(
    ("trials", "cell"), [(1, "100"), (3, "100 (90.0–120, n\u00a03)"), (6, "105 (90.0–140, n\u00a06)")]
)
def test_every_report_shows_the_trials_and_the_interval_of_a_figure(trials: int, cell: str) -> None:
    run, summary = _repeated([100, 90, 120, 110, 95, 140][:trials])
    assert text.cell(summary.servers["epoll_lt"], BY_NAME["cpu_us_per_request"]) == cell
    console = Console(file=io.StringIO(), width=300)
    table(summary, console)
    shown = (console.file.getvalue(), markdown(run, summary), html(run, summary))  # type: ignore[attr-defined]
    assert all(cell in one for one in shown)
    assert all((text.brackets(summary) in one) for one in shown)
    assert bool(text.brackets(summary)) is (trials > 1)
    same = text.cell(summary.servers["epoll_lt"], BY_NAME["connections_peak"])
    assert same == ("1,000" if trials == 1 else f"1,000 (n\u00a0{trials})")
    if trials > 1:
        columns = text.row(summary.servers["epoll_lt"])
        assert all(f"n\u00a0{trials})" in one for one in columns if one != text.NOTHING)
        behind = explain.row(summary.servers["epoll_lt"])[:-1]
        assert all(f"n\u00a0{trials})" in one for one in behind if one != text.NOTHING)


def _repeated(cpu_us: list[float]) -> tuple[Run, Summary]:
    run = records.run(*(compared_runs.costing(f"epoll_lt/{i}", cost) for i, cost in enumerate(cpu_us, 1)))
    return run, judge(run, summarise(run))


def test_a_group_shows_the_trials_and_the_interval_too() -> None:
    group = GroupSummary(
        requests_per_s=Estimate(value=10.0), intervals={"requests_per_s": Interval(n=2, low=9.0, high=11.0)}
    )
    shown = groups.rows(_summary(_server("a", groups={"web": group})))
    assert shown[0][2] == "10.0 (9.00–11.0, n\u00a02)"


def test_why_compares_at_one_sweep_point() -> None:
    _, summary = judged.sweep()
    cpu = next(sentence for sentence in explain.sentences(summary) if sentence.startswith("CPU"))
    assert "select,users=10000 has 116 µs" in cpu
    assert "epoll_lt,users=10000" in cpu


def test_every_verdict_has_a_meaning() -> None:
    for verdict in ("PASS", "FAIL", "INVALID", "INCONCLUSIVE", "UNKNOWN"):
        summary = _summary().model_copy(update={"verdict": verdict})
        assert findings.verdict_meaning(summary)
    doubt = Finding(check="c", level="suspect", says="x")
    passed = _summary().model_copy(update={"verdict": "PASS", "findings": (doubt,)})
    assert findings.verdict_meaning(passed).endswith("1 finding to look at below")
    assert json.loads(passed.model_dump_json())["verdict"] == "PASS"
