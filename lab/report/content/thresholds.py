"""Thresholds of the scenario as rows and as words: one place for every format."""

from __future__ import annotations

from collections.abc import Mapping

from lab.analysis.model import Summary
from lab.report.content import text

_LABELS = {"ok": "held", "valid_trials": "valid trials", "failed": "trials that failed it", "says": "remark"}


def headings(summary: Summary) -> list[str]:
    """Return the columns, in the order of their first use."""
    return [_LABELS.get(key, key) for key in _keys(summary)]


def rows(summary: Summary) -> list[list[str]]:
    """One row per threshold and server, in the columns of `headings`."""
    return [[_cell(row.get(key)) for key in _keys(summary)] for row in summary.thresholds]


def words(row: Mapping[str, object]) -> str:
    """`server thread, metric errors, threshold rate < 1%, value 0.3` without whether it held."""
    return ", ".join(
        f"{_LABELS.get(key, key)} {_cell(value)}"
        for key, value in row.items()
        if key != "ok" and value not in (None, "")
    )


def _keys(summary: Summary) -> list[str]:
    return list(dict.fromkeys(key for row in summary.thresholds for key in row))


def _cell(value: object) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return text.count(value) if is_number else text.plain_value("", value)  # type: ignore[arg-type]
