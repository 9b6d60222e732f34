"""Laws of growth in words and tables, in Markdown and HTML."""

from __future__ import annotations

import pytest

from lab.analysis.growth import curves, growth
from lab.analysis.model import Curve, CurvePoint, ServerSummary, Summary
from lab.report.content import sweeps
from lab.report.html import html
from lab.report.markdown import markdown
from lab.report.markdown_text import escape
from tests.support import judged

PLACES = (10.0, 1000.0, 2000.0, 4000.0)


def curve(server: str, start: float, slope: float, metric: str = "cpu_us_per_request") -> Curve:
    seen = {x: [start + slope * x] * 3 for x in PLACES}
    points = tuple(CurvePoint(x=x, value=values[0], trials=3) for x, values in seen.items())
    return Curve(
        server=server, path="swarm.users", metric=metric, unit="µs", points=points, growth=growth(seen)
    )


def summary(*lines: Curve) -> Summary:
    return Summary(run="r", scenario="s", curves=lines)


def test_servers_are_grouped_by_law_and_a_line_says_what_each_unit_costs() -> None:
    lines = (curve("epoll_lt", 10, 0), curve("epoll_et", 11, 0), curve("select", 10, 0.03))
    assert sweeps.law_sentences(summary(*lines)) == [
        "Against swarm.users the CPU time per request does not grow for epoll_lt, epoll_et; "
        "grows linearly for select (+0.03 µs each)."
    ]


def test_a_row_tells_both_ends_the_law_and_its_interval() -> None:
    [row] = sweeps.laws(summary(curve("select", 10, 0.03)))
    assert dict(zip(sweeps.HEADINGS, row, strict=True)) == {
        "server": "select",
        "figure": "CPU time per request",
        "against": "swarm.users",
        "from": "10.3 µs at 10",
        "to": "130 µs at 4,000",
        "growth": "grows linearly",
        "over the sweep": "×12.6",
        "95 % interval": "×12.6 … ×12.6",
    }


def test_swept_values_are_told_in_the_unit_they_were_written_in() -> None:
    seen = {x: [2 + 2000 * x] * 3 for x in (0.001, 0.005, 0.02, 0.08)}
    points = tuple(CurvePoint(x=x, value=values[0], trials=3) for x, values in seen.items())
    line = Curve(
        server="poll", path="links.0.delay", metric="response_p50_ms", unit="ms", points=points,
        growth=growth(seen),
    )  # fmt: skip
    servers = {text: ServerSummary(server="poll", point={"links.0.delay": text}) for text in ("1ms", "80ms")}
    made = summary(line).model_copy(update={"servers": servers})
    assert sweeps.law_sentences(made) == [
        "Against links.0.delay the median response time grows linearly for poll (+2 ms per ms)."
    ]
    assert sweeps.laws(made)[0][3:5] == ["4.00 ms at 1 ms", "162 ms at 80 ms"]


@pytest.mark.parametrize(
    ("share", "told"), [(0.34, "+34%"), (-0.14, "-14%"), (-0.001, "0%"), (8.9, "+890%"), (116.0, "×117")]
)
def test_how_a_change_is_told(share: float, told: str) -> None:
    assert sweeps.change(share) == told


def test_where_a_server_met_its_limit_is_told() -> None:
    limited = curve("select", 40, 1.1).model_copy(update={"limit_met_at": 3000.0})
    assert sweeps.laws(summary(limited))[0][4].endswith("; it reached its limit at 3,000")


def test_the_chart_ends_where_the_server_met_its_limit() -> None:
    limited = curve("select", 40, 1.1).model_copy(update={"limit_met_at": 3000.0})
    servers = {
        f"{name},users={users}": ServerSummary(
            server=name,
            point={"swarm.users": users},
            refused_above=1020 if name == "select" and users == 3000 else None,
            cpu_us_per_request=9.0,
            trials_valid=1,
        )
        for name in ("select", "poll")
        for users in (1000, 3000)
    }
    made = sweeps.sweep(summary(limited, curve("poll", 40, 1.1)).model_copy(update={"servers": servers}))
    assert made is not None
    assert [(row["label"], row["value"]) for row in made["rows"]] == [
        ("select", "1000"),
        ("poll", "1000"),
        ("poll", "3000"),
    ]


def test_too_few_places_are_said_not_fitted() -> None:
    bare = curve("poll", 10, 0).model_copy(update={"growth": None})
    assert "not fitted" in sweeps.laws(summary(bare))[0][5]
    assert sweeps.law_sentences(summary(bare)) == []


def test_both_reports_carry_them_and_only_with_a_sweep() -> None:
    run, made = judged.sweep()
    made = made.model_copy(update={"curves": tuple(curves(made.servers.values(), ()))})
    sentences = sweeps.law_sentences(made)
    assert sentences
    page, text = html(run, made), markdown(run, made)
    assert all(sentence in page and escape(sentence) in text for sentence in sentences)
    assert "## Growth" in text
    assert "Laws of growth" in page
    run, made = judged.golden()
    assert "Laws of growth" not in html(run, made)
    assert "## Growth" not in markdown(run, made)
