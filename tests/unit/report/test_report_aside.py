"""Findings that concern no figure shown come after the others: folded in pages, counted in the terminal."""

from __future__ import annotations

import io
import re
from dataclasses import replace

from rich.console import Console

from lab.analysis.checks import TRIAL_CHECKS
from lab.analysis.model import Summary, ThresholdResult
from lab.common.figures import BY_NAME, FIGURES
from lab.report.content import findings, text
from lab.report.html import html
from lab.report.markdown import markdown
from lab.report.terminal import table
from lab.results.record import Run, TrialRecord
from tests.support.records import counter, failing, judged, run, series, trial

STOPPED = {"server": {"code": 137, "signal": "SIGKILL", "oom": False, "early": False}}


def told(record: TrialRecord, **facts: object) -> tuple[Run, Summary]:
    return run(record, **facts), judged(record, **facts)


def printed(summary: Summary) -> str:
    file = io.StringIO()
    table(summary, Console(file=file, width=120))
    return file.getvalue()


def checks_of(groups: list[findings.Group]) -> set[str]:
    return {group.check for group in groups}


def test_a_server_that_would_not_stop_concerns_no_figure() -> None:
    made, summary = told(replace(trial(), exits=STOPPED))
    concerned, aside = findings.divided(summary, text.COLUMNS)
    assert (checks_of(concerned), checks_of(aside)) == (set(), {"server_stopped"})
    says = "1 more finding concerns no figure shown here"
    assert f"{says}: see report.html" in printed(summary)
    assert "[server_stopped]" not in printed(summary)
    for page in (html(made, summary), markdown(made, summary)):
        folded = page[page.index(f"<summary>{says}</summary>") :]
        assert "did not exit with 0 on SIGTERM" in folded
        assert not re.search(r"<details[^>]* open", page)


def test_what_a_shown_figure_rests_on_is_told_first() -> None:
    one_cpu = {"server": "0-1", "swarm": "1", "overlap": False}
    _, summary = told(replace(trial(), exits=STOPPED, placement=one_cpu))
    concerned, aside = findings.divided(summary, text.COLUMNS)
    assert (checks_of(concerned), checks_of(aside)) == ({"placement"}, {"server_stopped"})
    no_cpu = [figure for figure in text.COLUMNS if "placement" not in figure.needs]
    assert checks_of(findings.divided(summary, no_cpu)[1]) == {"placement", "server_stopped"}


def test_a_figure_without_a_value_is_not_shown_unless_a_threshold_asks_for_it() -> None:
    uncounted = series(
        {("server", "syscalls", name): None for name in ("epoll_wait", "read", "write", "accept4")}
    )
    _, summary = told(replace(trial(), series=uncounted))
    calls = [BY_NAME["syscalls_per_request"]]
    assert checks_of(findings.divided(summary, calls)[1]) == {"model_profile"}
    row = ThresholdResult(
        server="epoll_lt", metric="syscalls_per_request", threshold="value<9", ok=False, told=False
    )
    asked = summary.model_copy(update={"thresholds": (row,)})
    assert checks_of(findings.divided(asked, calls)[0]) == {"model_profile"}


def test_what_decides_the_verdict_and_what_is_about_the_run_is_never_folded() -> None:
    unsampled = replace(trial(), series=series({("host", "host", "pswpin"): None}), stamps=("not isolated",))
    _, summary = told(unsampled, seed=None)
    concerned, aside = findings.divided(summary, ())
    assert checks_of(concerned) >= {"swap", "isolation", "provenance"}
    assert checks_of(aside) & {"swap", "isolation", "provenance"} == set()


def test_every_check_of_a_trial_is_one_that_a_figure_rests_on_or_about_the_whole_trial() -> None:
    needed = {check for figure in FIGURES for check in figure.needs}
    whole = findings.ABOUT_ALL | findings.ABOUT_NONE
    assert needed | whole == {check.name for check in TRIAL_CHECKS}
    assert not needed & whole


def test_errors_concern_the_share_of_errors() -> None:
    _, summary = told(failing(trial(), 60))
    concerned, _ = findings.divided(summary, [BY_NAME["errors"]])
    assert "errors" in checks_of(concerned)
    assert not findings.divided(summary, text.COLUMNS)[1]


def test_a_quota_of_the_swarm_concerns_the_response_time() -> None:
    rates = {"cpu_periods": 10, "cpu_throttled": 0.5}
    quota = series({("worker-1", "cgroup", name): counter(0, rate) for name, rate in rates.items()})
    _, summary = told(replace(trial(), series=quota))
    concerned, aside = findings.divided(summary, text.COLUMNS)
    assert (checks_of(concerned), aside) == ({"generator_throttled"}, [])
