"""Thresholds in every format: plain headings, and the reason beside what did not hold."""

from __future__ import annotations

from lab.analysis.model import Summary, ThresholdResult
from lab.report import ci, markdown
from lab.report.content import thresholds
from lab.results.record import Run
from tests.support import judged

ROW = ThresholdResult(
    server="thread", metric="errors", threshold="rate < 1%", ok=False, valid_trials=3, failed=1, value=0.02,
    trial="thread/2",
)  # fmt: skip


def broken() -> tuple[Run, Summary]:
    run, summary = judged.golden()
    return run, summary.model_copy(update={"thresholds": (ROW,)})


def test_headings_and_cells_are_words() -> None:
    _, summary = broken()
    assert "valid_trials" not in thresholds.HEADINGS
    [cells] = thresholds.rows(summary)
    shown = dict(zip(thresholds.HEADINGS, cells, strict=True))
    assert (shown["held"], shown["valid trials"], shown["value"]) == ("no", "3", "0.020")


def test_one_in_words_has_no_raw_key_and_leaves_out_what_is_not_known() -> None:
    assert thresholds.words(ROW) == (
        "server thread, metric errors, threshold rate < 1%, valid trials 3, trials that failed it 1, "
        "value 0.020, trial thread/2"
    )


def test_formats_agree() -> None:
    run, summary = broken()
    assert "valid trials" in markdown.markdown(run, summary)
    assert "valid_trials" not in markdown.markdown(run, summary) + ci.workflow_commands(summary)
