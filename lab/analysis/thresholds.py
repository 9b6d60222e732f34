"""Thresholds judged: each must hold in every valid trial of its server; the grammar is in scenario.threshold.

One without data, or with a lower bound that does not decide, cannot be told: it never holds, for a gate that
cannot see must not open.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from lab.analysis.figures import failed_of, ratio
from lab.analysis.histogram import Bound, Outcomes, fewest, response_times, service_times
from lab.analysis.model import (
    ThresholdResult,
    TrialFigures,
    figure_of,
    is_cpu_cost,
    is_lower_bound,
    why_bound,
)
from lab.common.figure import Figure
from lab.results.load import Counts
from lab.results.record import Run, TrialRecord
from lab.scenario.threshold import FIGURE_WORDS, TIMES, Threshold, read


class Judged(NamedTuple):
    """The figure that a threshold is about, and whether it holds: None where nobody can tell.

    `at_least`: the figure is a lower bound, for the reason that it `says`.
    """

    value: float | None
    holds: bool | None
    at_least: bool = False
    says: str = ""


def judge_trial(threshold: Threshold, trial: TrialRecord, figures: TrialFigures) -> Judged:
    """Judge a threshold by one trial."""
    if trial.load is None:
        return Judged(None, None, says="no measurement came about")
    if threshold.metric == "errors":
        return _errors(threshold, trial.load.result, figures.errors.rate)
    if threshold.metric in TIMES:
        return _times(threshold, trial.load.result)
    figure = FIGURE_WORDS[threshold.metric]
    value = figure_of(figures, figure)
    if value is None:
        return Judged(None, None, says=_why_none(figure, figures))
    if is_lower_bound(figures, figure):
        says = f"a lower bound: {why_bound(figure.name)}"
        return Judged(value, threshold.holds_from(value), at_least=True, says=says)
    return Judged(value, threshold.holds(value))


def _why_none(figure: Figure, figures: TrialFigures) -> str:
    if is_cpu_cost(figure) and figures.busy_waits:
        return "the model polls, so its CPU is full at every rate: it has cpu_cores_waiting instead"
    return f"{figure.threshold or figure.name} was not measured"


def judge_window(threshold: Threshold, result: Counts) -> Judged:
    """Judge a threshold of times or errors by the sums of a window, whole or so far."""
    if threshold.metric in TIMES:
        return _times(threshold, result)
    failed, meant = failed_of(result)
    return _errors(threshold, result, ratio(failed, meant))


def _errors(threshold: Threshold, result: Counts, rate: float | None) -> Judged:
    value = float(failed_of(result)[0]) if threshold.aggregate == "count" else rate
    if value is None:
        return Judged(None, None, says="no request was meant for the window")
    return Judged(value, threshold.holds(value))


_OUTCOMES = {"response_hdr": response_times, "service_hdr": service_times}


def _times(threshold: Threshold, result: Counts) -> Judged:
    field = TIMES[threshold.metric]
    text = getattr(result, field)
    seen = _OUTCOMES[field](result) if field in _OUTCOMES else Outcomes.of([text], [], 0)
    if threshold.aggregate == "count":
        return Judged(float(seen.answers.samples), threshold.holds(seen.answers.samples))
    percentile = 50.0 if threshold.aggregate == "med" else threshold.percentile
    needed = fewest(percentile) if percentile is not None else 1
    if seen.samples < needed:
        says = f"{threshold.aggregate} needs {needed:,} samples, the window has {seen.samples:,}"
        return Judged(None, None, says=says)
    bound = seen.quantile(percentile) if percentile is not None else _whole(threshold.aggregate, seen)
    return _judged(threshold, bound, seen)


def _whole(aggregate: str, seen: Outcomes) -> Bound:
    """Mean, shortest or longest of all: with a request that had no answer, a lower bound of it."""
    without = seen.unanswered > 0
    if aggregate == "max" and without:
        return Bound(seen.together.low_at(seen.samples), at_least=True)
    if aggregate == "min":
        return Bound(seen.answers.min_us) if seen.answers.samples else Bound(seen.together.min_us, without)
    return Bound({"avg": seen.together.mean_us, "max": seen.together.max_us}[aggregate], without)


def _judged(threshold: Threshold, bound: Bound, seen: Outcomes) -> Judged:
    value = bound.us / 1e3
    if not bound.at_least:
        return Judged(value, threshold.holds(value))
    holds = threshold.holds_from(value)
    says = f"a lower bound: {seen.unanswered:,} of {seen.samples:,} requests had no answer"
    return Judged(value, holds, at_least=True, says=says)


def judge_thresholds(
    run: Run, figures: Mapping[str, TrialFigures], invalid: Collection[str]
) -> tuple[ThresholdResult, ...]:
    """One result per threshold and sweep point."""
    groups: dict[str, list[TrialRecord]] = {}
    for trial in run.trials:
        groups.setdefault(trial.key.group, []).append(trial)
    return tuple(row for name, trials in groups.items() for row in _of_group(name, trials, figures, invalid))


def _of_group(
    name: str, trials: Sequence[TrialRecord], figures: Mapping[str, TrialFigures], invalid: Collection[str]
) -> Iterator[ThresholdResult]:
    asked = trials[0].scenario.thresholds.get(trials[0].server, {})
    valid = [trial for trial in trials if trial.status == "ok" and trial.id not in invalid]
    for threshold in (read(metric, c) for metric, conditions in asked.items() for c in conditions):
        seen = [(judge_trial(threshold, trial, figures[trial.id]), trial.id) for trial in valid]
        yield _aborted(threshold, trials, _result(name, threshold, seen))


def _aborted(threshold: Threshold, trials: Sequence[TrialRecord], result: ThresholdResult) -> ThresholdResult:
    """Return what is told where it ended a trial before its window had a figure; else the result."""
    for trial in trials:
        found = trial.aborted
        if found and (found.metric, found.threshold) == (threshold.metric, threshold.text):
            told = {"ok": False, "told": True, "value": found.value, "trial": trial.id, "says": found.says}
            return result.model_copy(update=told)
    return result


def _result(name: str, threshold: Threshold, seen: Sequence[tuple[Judged, str]]) -> ThresholdResult:
    failed = sum(judged.holds is False for judged, _ in seen)
    untold = sum(judged.holds is None for judged, _ in seen)
    worst, trial = _worst(threshold, seen)
    return ThresholdResult(
        server=name,
        metric=threshold.metric,
        threshold=threshold.text,
        ok=bool(seen) and not failed and not untold,
        told=failed > 0 or (bool(seen) and not untold),
        value=worst.value,
        at_least=worst.at_least,
        trial=trial,
        says=worst.says,
        valid_trials=len(seen),
        failed=failed,
    )


def _worst(threshold: Threshold, seen: Sequence[tuple[Judged, str]]) -> tuple[Judged, str | None]:
    """Choose the trial to show: one that failed it before one that cannot tell, before one that held."""
    if not seen:
        return Judged(None, None, says="no valid trial to judge"), None
    sign = 1.0 if threshold.compare in (">", ">=") else -1.0

    def badness(one: tuple[Judged, str]) -> tuple[int, float]:
        value = one[0].value
        return _WORST_FIRST.index(one[0].holds), sign * value if value is not None else -math.inf

    return min(seen, key=badness)


_WORST_FIRST = (False, None, True)
