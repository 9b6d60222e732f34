"""Thresholds that end a run (`abort_on_fail`): evaluated while the window runs, and after each trial.

As in k6, such a threshold is evaluated on everything measured so far, and ends the run even if later data
could still satisfy it: `delay_abort_eval` gives it time. Upper bounds of times and of errors are evaluated
live, once the warm-up is over and there are enough samples. All others (a rate, CPU time, memory, any lower
bound) are known at the end of a trial, and then stop the following trials.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lab.analysis.checks import check_trial
from lab.analysis.figures import figures
from lab.analysis.thresholds import Judged, judge_trial, judge_window
from lab.plan.plan import Trial
from lab.results import store
from lab.results.node import Aborted
from lab.results.record import TrialRecord
from lab.results.swarm_event import LoadEvent, PhaseStart, Progress
from lab.scenario.threshold import TIMES, Threshold, Thresholds, aborting


def is_live(threshold: Threshold) -> bool:
    """Whether a part of the window is enough: a lower bound fails until it is reached."""
    return threshold.metric in (*TIMES, "errors") and threshold.metric != "connect" and threshold.is_upper


class AbortGate:
    """See experiment.Abort."""

    def live(self, trial: Trial) -> Live:
        """See experiment.Abort."""
        return Live(trial.scenario.thresholds, trial.server)

    def at_end(self, record: TrialRecord, folder: Path) -> Aborted | None:
        """See experiment.Abort."""
        if not aborting(record.scenario.thresholds, record.server):
            return None
        series, _ = store.read_series(folder / "series.csv")
        return at_end(replace(record, series=series))


class Live:
    """Watches the load of one trial by its events."""

    def __init__(self, thresholds: Thresholds, server: str) -> None:
        self._thresholds = [one for one in aborting(thresholds, server) if is_live(one)]
        self._begins_ms: float | None = None

    def __call__(self, event: LoadEvent) -> Aborted | None:
        """Take an event of the swarm; the first threshold that does not hold, or None."""
        if isinstance(event, PhaseStart) and event.phase == "measure":
            self._begins_ms = event.starts_mono_ms
        if not isinstance(event, Progress) or self._begins_ms is None or event.window is None:
            return None
        after_s = (event.mono_ms - self._begins_ms) / 1000
        for threshold in self._thresholds:
            judged = judge_window(threshold, event.window)
            if judged.holds is False and after_s >= threshold.delay_s:
                return _aborted(threshold, judged, f"{after_s:.1f} s into the window")
        return None


def at_end(trial: TrialRecord) -> Aborted | None:
    """Return the first aborting threshold that a valid trial does not hold. Never raises for a record."""
    asked = aborting(trial.scenario.thresholds, trial.server)
    if trial.status != "ok" or any(f.level == "invalid" and not f.expected for f in check_trial(trial)):
        return None
    found = figures(trial)
    for threshold in asked:
        judged = judge_trial(threshold, trial, found)
        if not judged.holds:
            return _aborted(threshold, judged, judged.says or "at the end of the trial")
    return None


def _aborted(threshold: Threshold, judged: Judged, when: str) -> Aborted:
    seen = "cannot be decided" if judged.value is None else f"is {_shown(threshold, judged, judged.value)}"
    says = f"threshold {threshold.metric} {threshold.text}: {threshold.aggregate} {seen} ({when})"
    return Aborted(metric=threshold.metric, threshold=threshold.text, value=judged.value, says=says)


def _shown(threshold: Threshold, judged: Judged, value: float) -> str:
    return ("at least " if judged.at_least else "") + threshold.shown(value)
