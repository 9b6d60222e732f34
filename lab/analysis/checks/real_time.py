"""The real-time class of engines and delay lines: whether the end of its budget held one of them back.

Nothing but a real-time task, or the end of the budget, keeps a real-time task waiting for long (sched(7)).
The kernel counts how long each waited. So a task was throttled where it waited for longer than other
real-time tasks of the lab ran on its CPU meanwhile, around a time in which they all used up the budget there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from lab.analysis.checks.trial_view import NoData, Result, TrialView, graded
from lab.results.node import ProcessClass
from lab.results.record import Series

SOURCE = "realtime"
REAL_TIME = "SCHED_RR"
# Many wake-ups add up to some milliseconds a second in which nothing was throttled.
LEAST_WAIT_US = 5_000.0
# Samples are not taken at the moment at which a period begins: this share of a budget counts as all of it.
BUDGET_USED = 0.9


@dataclass(frozen=True)
class Task:
    """A real-time process, with what was sampled of it."""

    process: ProcessClass
    series: Series

    @property
    def name(self) -> str:
        """Return the node and the task in words."""
        return f"{self.process.node}: {self.process.task}"

    def times_ms(self) -> list[float]:
        """Return when it was sampled."""
        return [time for time, _ in self._points("waited_us")]

    def grown(self, metric: str, start_ms: float, end_ms: float) -> float:
        """Return the growth of a counter between two times, as far as it was sampled."""
        times = self.times_ms()
        within = (max(start_ms, times[0]), min(end_ms, times[-1]))
        key = f"{metric}/{self.process.pid}"
        return self.series.increase(self.process.node, SOURCE, key, within) or 0.0

    def budget_us(self, start_ms: float, end_ms: float) -> float:
        """Return the smallest budget a period that was seen in a time, ends included."""
        seen = [budget for time, budget in self._points("budget_us") if start_ms <= time <= end_ms]
        if not seen:
            raise NoData(f"the real-time budget of {self.name} was not sampled")
        return min(seen)

    def cpus(self, start_ms: float, end_ms: float) -> set[float]:
        """Return the CPUs on which it was seen in a time, ends included."""
        return {cpu for time, cpu in self._points("cpu") if start_ms <= time <= end_ms}

    def _points(self, metric: str) -> list[tuple[float, float]]:
        return self.series.get(self.process.node, SOURCE, f"{metric}/{self.process.pid}")


def throttled(view: TrialView) -> Iterator[Result]:
    """No engine and no delay line waited because its real-time budget was used up, from the ramp on."""
    tasks = [Task(one, view.trial.series) for one in real_time(view)]
    sampled = [task for task in tasks if len(task.times_ms()) > 1]
    if len(sampled) < len(tasks):
        raise NoData("not every real-time process was sampled (/proc/PID/schedstat)")
    begins_ms = min(view.load.phases.begun.values(), default=view.window_ms[0])
    for task in sampled:
        peers = [other for other in sampled if other is not task]
        held_us = sum(_held_us(task, peers, begins_ms, view.window_ms[1]))
        budget_ms = task.budget_us(begins_ms, view.window_ms[1]) / 1000
        period_ms = (task.process.period_us or 0) / 1000
        yield from graded(
            "real_time_throttled_ms",
            held_us / 1000,
            f"{task.name} was throttled for {held_us / 1000:.0f} ms",
            "lower the load, give the swarm more CPUs, or set `real-time: false` in lab.yaml",
            f": real-time tasks may run for {budget_ms:g} of {period_ms:g} ms here",
        )


def real_time(view: TrialView) -> Sequence[ProcessClass]:
    """Return the processes of the trial that ran in the real-time class."""
    return [one for one in view.trial.scheduling or () if one.policy == REAL_TIME]


def _held_us(task: Task, peers: Sequence[Task], begins_ms: float, ends_ms: float) -> Iterator[float]:
    """Yield the waits of a task that its budget explains, one for each time between two samples."""
    period_us = task.process.period_us
    if period_us is None:
        raise NoData(f"the real-time period of {task.name} was not recorded")
    for start, end in pairwise(task.times_ms()):
        if end < begins_ms or start > ends_ms:
            continue
        cpus = task.cpus(start, end)
        beside = [peer for peer in peers if peer.cpus(start, end) & cpus or not peer.cpus(start, end)]
        waited_us = task.grown("waited_us", start, end) - sum(p.grown("ran_us", start, end) for p in beside)
        around = (start - period_us / 1000, end + period_us / 1000)
        ran_us = sum(one.grown("ran_us", *around) for one in (task, *beside))
        if waited_us > LEAST_WAIT_US and ran_us >= BUDGET_USED * task.budget_us(start, end):
            yield waited_us
