"""The table of figures: one row and one field a figure, and everything that derives from it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from iomodels import stats

from lab.analysis.checks import RUN_CHECKS, TRIAL_CHECKS
from lab.analysis.comparison import METRICS
from lab.analysis.figures import figures
from lab.analysis.model import (
    Errors,
    Estimate,
    Quantiles,
    ServerFigures,
    ServerSummary,
    TrialFigures,
    figure_of,
)
from lab.common.figure import Figure, PerRequest, Quotient
from lab.common.figures import BY_NAME, FIGURES
from lab.common.paths import ROOT
from lab.report.content import explain, text
from lab.report.figures_table import renewed
from lab.report.openmetrics import FAMILIES, family_name
from lab.scenario.threshold import FIGURE_WORDS
from lab.scenario.threshold import METRICS as WORDS
from tests.support import make_golden

PAGE = (ROOT / "docs/validity.md").read_text(encoding="utf-8")
# No scalars: rows are quantiles of the first; the second is not shown; the third is a share and its kinds,
# the others are marks.
NO_ROW = {"response_ms", "service_ms", "errors", "kept_up", "marks", "cpu_at_least", "busy_waits"}


def test_every_row_has_a_field_and_every_field_a_row():
    rows = {figure.path[0] for figure in FIGURES}
    fields = {*ServerFigures.model_fields, "requests_per_s"}
    assert rows - NO_ROW == fields - NO_ROW
    assert len(BY_NAME) == len(FIGURES)


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)
def test_a_row_leads_to_a_value_in_a_trial_and_in_a_summary(figure: Figure):
    known = {
        "response_ms": Quantiles(samples=1, p50=7.0, p95=7.0, p99=7.0),
        "errors": Errors(rate=7.0),
        "syscalls_per_request": {"read": 3.0, "write": 4.0},
    }.get(figure.path[0], 7)
    of_trial = TrialFigures(trial="a/1", status="ok", **{figure.path[0]: known})
    assert figure_of(of_trial, figure) == 7.0
    if figure.path[0] == "requests_per_s":
        known = Estimate(value=7.0)
    assert figure_of(ServerSummary(server="a", **{figure.path[0]: known}), figure) == 7.0
    assert figure_of(TrialFigures(trial="a/1", status="ok"), figure) in (
        None,
        0.0 if figure.name == "errors" else None,
    )


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)
def test_a_row_names_checks_figures_and_words_that_exist(figure: Figure):
    checks = {check.name for check in (*TRIAL_CHECKS, *RUN_CHECKS)}
    assert figure.needs
    assert set(figure.needs) <= checks
    assert set(figure.explained_by) <= set(BY_NAME)
    assert all(BY_NAME[name].counted_as for name in figure.explained_by)
    assert figure.fallback in ("", *BY_NAME)
    assert figure.explains.endswith(".")
    assert "above" not in figure.explains, "OpenMetrics shows each alone"
    assert figure.noun
    assert figure.source.read_from


def test_what_derives_from_the_table_has_all_of_it():
    assert set(FIGURE_WORDS) <= set(WORDS)
    assert {figure.name for figure in FIGURE_WORDS.values()} == {f.name for f in FIGURES if not f.field}
    assert {metric.name for metric in METRICS} == {figure.name for figure in FIGURES if figure.compared}
    assert [figure.title for figure in text.COLUMNS] == [f.title for f in FIGURES if f.column]
    assert len(explain.HEADINGS) == 1 + sum(figure.behind for figure in FIGURES)
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)


def test_a_new_figure_of_a_counter_needs_a_row_and_a_field_only(monkeypatch: pytest.MonkeyPatch):
    row = replace(BY_NAME["signals_per_request"], source=PerRequest(("wakeups",)))
    rows = tuple(row if figure.name == row.name else figure for figure in FIGURES)
    monkeypatch.setattr("lab.analysis.figures.FIGURES", rows)
    found = figures(make_golden.golden().trials[0])
    assert found.signals_per_request == found.wakeups_per_request
    assert found.signals_per_request


@pytest.mark.parametrize(
    ("name", "unit", "family"),
    [
        ("cpu_us_per_request", "seconds", "lab_cpu_per_request_seconds"),
        ("memory_bytes_per_connection", "bytes", "lab_memory_per_connection_bytes"),
        ("requests_per_s", "", "lab_requests_per_second"),
        ("errors", "ratio", "lab_errors_ratio"),
        ("threads_peak", "", "lab_threads_peak"),
        ("bytes_out_per_request", "", "lab_bytes_out_per_request"),
    ],
)
def test_a_metric_family_has_its_base_unit_last(name: str, unit: str, family: str):
    assert family_name(name, unit) == family


def test_counters_of_rows_are_counters_of_the_server():
    for figure in FIGURES:
        if isinstance(figure.source, PerRequest):
            assert set(figure.source.counters) <= set(stats.FIELDS), figure.name
        if isinstance(figure.source, Quotient):
            assert {figure.source.top, figure.source.bottom} <= set(stats.FIELDS), figure.name


def test_the_table_in_the_docs_is_fresh():
    assert renewed(PAGE) == PAGE, "make it anew: make generated"


def test_a_page_without_marks_is_refused():
    with pytest.raises(ValueError, match="do not edit"):
        renewed("# nothing")
