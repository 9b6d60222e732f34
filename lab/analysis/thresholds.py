"""Thresholds judged: each must hold in every valid trial of its server; the grammar is in scenario.threshold.

One without data fails, for a gate that cannot see must not open.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from lab.analysis.figures import failed_of, ratio
from lab.analysis.histogram import Times, fewest, times
from lab.analysis.model import TrialFigures, figure_of
from lab.results.load import Counts
from lab.results.record import Run, TrialRecord
from lab.scenario.threshold import FIGURE_WORDS, TIMES, Threshold, read


def figure(threshold: Threshold, trial: TrialRecord, figures: TrialFigures) -> tuple[float | None, str]:
    """Return the figure that a threshold is about, or None and why there is none."""
    if trial.load is None:
        return None, "no measurement came about"
    if threshold.metric in (*TIMES, "errors"):
        return in_window(threshold, trial.load.result)
    value = figure_of(figures, FIGURE_WORDS[threshold.metric])
    return value, "" if value is not None else f"{threshold.metric} was not measured"


def in_window(threshold: Threshold, result: Counts) -> tuple[float | None, str]:
    """Return the same of the window's sums, whole or so far: for times and errors."""
    if threshold.metric in TIMES:
        return _of_times(threshold, result)
    failed, meant = failed_of(result)
    if threshold.aggregate == "count":
        return float(failed), ""
    return ratio(failed, meant), "" if meant else "no request was meant for the window"


def _of_times(threshold: Threshold, result: Counts) -> tuple[float | None, str]:
    text = getattr(result, TIMES[threshold.metric])
    seen = times(text) if text else Times((), ())
    if threshold.aggregate == "count":
        return float(seen.samples), ""
    percentile = 50.0 if threshold.aggregate == "med" else threshold.percentile
    needed = fewest(percentile) if percentile is not None else 1
    if seen.samples < needed:
        return None, f"{threshold.aggregate} needs {needed:,} samples, the window has {seen.samples:,}"
    if percentile is not None:
        return seen.quantile_us(percentile) / 1e3, ""
    return {"avg": seen.mean_us, "min": seen.min_us, "max": seen.max_us}[threshold.aggregate] / 1e3, ""


def judge_thresholds(
    run: Run, figures: Mapping[str, TrialFigures], invalid: Collection[str]
) -> tuple[dict[str, Any], ...]:
    """One row per threshold and sweep point: server, metric, threshold, `ok`, worst `value` and its trial."""
    groups: dict[str, list[TrialRecord]] = {}
    for trial in run.trials:
        groups.setdefault(trial.key.group, []).append(trial)
    return tuple(row for name, trials in groups.items() for row in _rows(name, trials, figures, invalid))


def _rows(
    name: str, trials: Sequence[TrialRecord], figures: Mapping[str, TrialFigures], invalid: Collection[str]
) -> Iterator[dict[str, Any]]:
    asked = trials[0].scenario.thresholds.get(trials[0].server, {})
    valid = [trial for trial in trials if trial.status == "ok" and trial.id not in invalid]
    for metric, condition in ((m, c) for m, conditions in asked.items() for c in conditions):
        row = _row(metric, condition, valid, figures)
        yield {"server": name, "metric": metric, **row, **_aborted(metric, row["threshold"], trials)}


def _aborted(metric: str, text: str, trials: Sequence[TrialRecord]) -> dict[str, Any]:
    """Return what a threshold's row says where it ended a trial before its window had a figure."""
    for trial in trials:
        found = trial.aborted
        if found and (found.metric, found.threshold) == (metric, text):
            return {"ok": False, "value": found.value, "trial": trial.id, "says": found.says}
    return {}


def _row(
    metric: str, condition: Any, valid: Sequence[TrialRecord], figures: Mapping[str, TrialFigures]
) -> dict[str, Any]:
    threshold = read(metric, condition)
    failed, worst = _worst(threshold, valid, figures)
    return {
        "threshold": threshold.text,
        "ok": bool(valid) and not failed,
        "valid_trials": len(valid),
        "failed": failed,
        **worst,
    }


def _worst(
    threshold: Threshold, valid: Sequence[TrialRecord], figures: Mapping[str, TrialFigures]
) -> tuple[int, dict[str, Any]]:
    """In how many trials it did not hold, and the trial to show: one that failed before one that held."""
    seen = []
    for trial in valid:
        value, why_not = figure(threshold, trial, figures[trial.id])
        holds = value is not None and threshold.holds(value)
        seen.append((holds, {"value": value, "trial": trial.id, "says": why_not}))
    if not seen:
        return 0, {"value": None, "trial": None, "says": "no valid trial to judge"}
    wants_more = threshold.compare in (">", ">=")
    sign = 1.0 if wants_more else -1.0

    def badness(one: tuple[bool, dict[str, Any]]) -> tuple[bool, float]:
        value = one[1]["value"]
        return one[0], sign * value if value is not None else -math.inf

    return sum(not holds for holds, _ in seen), min(seen, key=badness)[1]
