"""The scenario's thresholds: rows for every report, and one of them in words."""

from __future__ import annotations

from lab.analysis.model import Summary, ThresholdResult
from lab.report.content.text import NOTHING, at_least, clean, count, number

HEADINGS = ("server", "metric", "threshold", "held", "seen", "trial", "valid trials", "failed", "")


def rows(summary: Summary) -> list[list[str]]:
    """One row per threshold and sweep point, in the columns of HEADINGS."""
    return [
        [
            clean(row.server),
            clean(row.metric),
            clean(row.threshold),
            held(row),
            seen(row),
            clean(row.trial or NOTHING),
            count(row.valid_trials),
            count(row.failed),
            clean(row.says),
        ]
        for row in summary.thresholds
    ]


def held(row: ThresholdResult) -> str:
    """Whether it held: `yes`, `no`, or `cannot be told`."""
    return "yes" if row.ok else "no" if row.told else "cannot be told"


def seen(row: ThresholdResult) -> str:
    """The figure of the worst trial: `42.0`, `≥ 5,000`."""
    shown = number(row.value)
    return at_least(shown) if row.at_least else shown


def words(row: ThresholdResult) -> str:
    """`select latency p(99)<1s: seen ≥ 5,000 in select/1 (why)`."""
    where = f" in {clean(row.trial)}" if row.trial else ""
    why = f" ({clean(row.says)})" if row.says else ""
    named = f"{clean(row.server)} {clean(row.metric)} {clean(row.threshold)}"
    return f"{named}: seen {seen(row)}{where}{why}"
