"""report.md: tables that hold, text that stays text, a size that pull requests take."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from lab.report.markdown import markdown
from lab.report.markdown_text import LIMIT_BYTES, bar, escape, fit
from tests.support import judged


def test_the_same_run_gives_the_same_bytes_below_the_limit() -> None:
    for run, summary in (judged.golden(), judged.sweep(), judged.failed()):
        text = markdown(run, summary)
        assert text == markdown(run, summary)
        assert 0 < len(text.encode()) < LIMIT_BYTES


def test_verdict_and_findings_come_first() -> None:
    run, summary = judged.golden()
    text = markdown(run, summary)
    assert text.startswith("# golden: FAIL\n")
    headings = re.findall(r"^## (.+)$", text, re.M)
    assert headings == ["Findings", "Servers", "Why", "Thresholds", "Links", "Failures"]


def test_every_row_of_a_table_has_the_columns_of_its_head() -> None:
    run, summary = judged.golden()
    for block in re.findall(r"(?:^\|.*\|$\n)+", markdown(run, summary), re.M):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1, block


def test_every_check_that_was_made_is_listed() -> None:
    run, summary = judged.golden()
    text = markdown(run, summary)
    assert summary.checks
    assert f"<details><summary>{len(summary.checks)} validity checks made</summary>" in text
    for name, tally in summary.checks.items():
        row = next(line for line in text.splitlines() if line.startswith(f"| {escape(name)} |"))
        assert all(f"{level} {count}" in row for level, count in tally.items())


def test_foreign_text_stays_text() -> None:
    run, summary = judged.golden()
    text = markdown(run, summary)
    assert "<img" not in text
    assert "\x1b" not in text
    assert "&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;" in text


@given(st.text())
def test_escaped_text_opens_no_table_cell_and_no_tag(anything: str) -> None:
    escaped = escape(anything)
    assert "<" not in escaped
    assert "\n" not in escaped
    assert not re.search(r"(?<!\\)(?:\\\\)*\|", escaped)


def test_names_with_underscores_stay_readable() -> None:
    assert escape("epoll_lt and _this_") == r"epoll_lt and \_this\_"


def test_what_does_not_fit_is_cut_and_counted() -> None:
    text = fit([["# head"], [f"row {number:04}" for number in range(100)]], 400)
    assert len(text.encode()) <= 400
    shown = text.count("row ")
    assert text.rstrip().endswith(f"*{100 - shown} more lines are in report.html.*")


def test_what_fits_is_not_cut() -> None:
    assert fit([["a"], ["b", "c"]], 1000) == "a\n\nb\nc\n"


def test_a_bar_is_as_long_as_its_share_and_never_invisible() -> None:
    assert bar(1.0, 4) == "████"
    assert bar(0.5, 4) == "██"
    assert bar(0.28125, 4) == "█▏"
    assert bar(0.0, 4) == "▏"
