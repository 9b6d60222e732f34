"""A comparison in words and tables, in the terminal, in Markdown, in HTML: named, escaped, of one width."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from lab.analysis.comparison import Gate, compare
from lab.analysis.comparison_model import Comparison
from lab.common.errors import Exit
from lab.report import comparison as report
from lab.verbs.compare import exit_code
from tests.support.compared_runs import other_machine, run, sampled


def made(head_us: float = 120, gate: Gate | None = None, **host: str) -> Comparison:
    head = run(sampled("epoll_lt", head_us, seed=2), "head")
    return compare(run(sampled("epoll_lt", 100)), [other_machine(head, **host)], gate)


def printed(comparison: Comparison) -> str:
    file = io.StringIO()
    report.terminal(comparison, Console(file=file))
    return file.getvalue()


def test_a_regression_is_named_with_its_size_interval_and_figures() -> None:
    [sentence] = report.sentences(made())
    assert re.fullmatch(
        r"epoll_lt: cpu_us_per_request REGRESSION: \+19\.8% \(\+1\d\.\d% … \+2\d\.\d%\), "
        r"\d+(\.\d)? → 1[12]\d µs; the margin is 5%",
        sentence,
    ), sentence


def test_an_improvement_is_named_and_no_change_is_not() -> None:
    assert ["improved" in sentence for sentence in report.sentences(made(80))] == [True]
    assert list(report.sentences(made(100))) == []


def test_terminal_and_markdown_carry_the_same_cells() -> None:
    comparison = made()
    text = printed(comparison)
    assert max(map(len, text.splitlines())) <= 100
    assert "\x1b" not in text
    shown = report.rows(comparison.heads[0].servers[0])
    assert len(shown) > 4
    for cells in shown:
        for cell in cells:
            assert cell in text
            assert cell in re.sub(r"\\(.)", r"\1", report.markdown(comparison))


def test_every_row_of_a_table_has_the_columns_of_its_head() -> None:
    text = report.markdown(made(kernel="6.19 | odd"))
    blocks = re.findall(r"(?:^\|.*\|$\n)+", text, re.M)
    assert len(blocks) == 2
    for block in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1, block


def test_drift_is_shown_and_what_matters_refuses_a_gate() -> None:
    same = made(kernel="6.19.0")
    assert same.refusal is None
    assert re.search(r"kernel +\S+ +6\.19\.0 +no", printed(same))
    other = made(cpu_model="Another CPU")
    assert other.refusal is not None
    assert "these differ: CPU" in other.refusal
    assert re.search(r"CPU +Example CPU +Another CPU +yes", printed(other))


def test_foreign_text_stays_text() -> None:
    foreign = made(kernel='<img src="x">\x1b[2J')
    assert "<img" not in report.html(foreign) + report.markdown(foreign)
    assert "&lt;img" in report.html(foreign)
    assert "\x1b" not in printed(foreign)


@pytest.mark.parametrize(
    ("head_us", "detect", "gates", "code"),
    [
        (120, None, True, Exit.THRESHOLD),
        (120, None, False, Exit.OK),
        (100, None, True, Exit.OK),
        (100, 0.5, True, Exit.OK),
        (100, 0.001, True, Exit.UNTRUSTED),
    ],
)
def test_the_exit_code_is_the_gates(head_us: float, detect: float | None, gates: bool, code: Exit) -> None:
    gate = Gate(("cpu_us_per_request",), detect)
    assert exit_code(made(head_us, gate), gates) == code
