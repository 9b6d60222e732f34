"""Thresholds of the scenario as rows and as words: one place for every format."""

from __future__ import annotations

from lab.analysis.model import Summary, ThresholdResult
from lab.report.content.text import NOTHING, at_least, clean, count

HEADINGS = (
    "server", "metric", "threshold", "held",
    "valid trials", "trials that failed it", "value", "trial", "remark",
)  # fmt: skip


def rows(summary: Summary) -> list[list[str]]:
    """One row per threshold and sweep point, in the columns of HEADINGS."""
    return [_cells(row) for row in summary.thresholds]


def words(row: ThresholdResult) -> str:
    """`server thread, metric errors, threshold rate < 1%, value 0.3` without whether it held."""
    known = zip(HEADINGS, _cells(row), strict=True)
    return ", ".join(f"{name} {cell}" for name, cell in known if name != "held" and cell not in ("", NOTHING))


def _cells(row: ThresholdResult) -> list[str]:
    held = "yes" if row.ok else "no" if row.told else "cannot be decided"
    value = at_least(count(row.value)) if row.at_least else count(row.value)
    named = [clean(word) for word in (row.server, row.metric, row.threshold)]
    counts = [count(row.valid_trials), count(row.failed)]
    return [*named, held, *counts, value, clean(row.trial or NOTHING), clean(row.says)]
