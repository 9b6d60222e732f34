"""The table at the end of a run, on terminals of any width and in pipes."""

from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from lab.analysis.model import Summary
from lab.report.terminal import table
from tests.support import judged


def printed(summary: Summary, width: int = 100, terminal: bool = False) -> str:
    file = io.StringIO()
    table(summary, Console(file=file, width=width, force_terminal=terminal, color_system=None))
    return file.getvalue()


def test_verdict_comes_first_then_findings_then_servers() -> None:
    _, summary = judged.golden()
    lines = printed(summary).splitlines()
    assert lines[0].startswith("FAIL  the figures are valid")
    places = [
        next(i for i, line in enumerate(lines) if word in line) for word in ("invalid ", "expected ", "p99")
    ]
    assert places == sorted(places)


def test_figures_and_reasons_stand_in_the_table() -> None:
    _, summary = judged.golden()
    shown = printed(summary)
    row = next(line for line in shown.splitlines() if line.startswith("thread "))
    assert row.split()[:2] == ["thread", "10,000"]
    assert "47.2 KiB" in row
    assert "≥\u00a043.7" in next(line for line in shown.splitlines() if line.startswith("select "))
    assert "crash: no figures: server died (SIGSEGV)" in shown


@pytest.mark.parametrize("width", [40, 60, 95, 96, 120, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    _, summary = judged.golden()
    for line in printed(summary, width, terminal=True).splitlines():
        assert cell_len(line.rstrip()) <= width, line


def test_every_server_is_shown_however_narrow() -> None:
    _, summary = judged.golden()
    shown = printed(summary, 40, terminal=True)
    assert all(name in shown for name in summary.servers)


def test_a_pipe_gets_plain_lines_whatever_its_text() -> None:
    _, summary = judged.golden()
    shown = printed(summary, width=20)
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "─" not in shown
    assert max(len(line.rstrip()) for line in shown.splitlines()) > 90


def test_colour_is_never_the_only_sign() -> None:
    _, summary = judged.golden()
    file = io.StringIO()
    table(
        summary, Console(file=file, width=120, force_terminal=True, color_system="truecolor", no_color=True)
    )
    assert "FAIL" in file.getvalue()
    assert "\x1b[31m" not in file.getvalue()


def test_a_run_without_measurements_still_tells_its_story() -> None:
    _, summary = judged.failed()
    shown = printed(summary)
    assert shown.startswith("UNKNOWN")
    assert "crash: no figures: server died" in shown


def test_a_summary_without_servers_prints() -> None:
    assert printed(Summary(run="r", scenario="s")).startswith("UNKNOWN")
