"""Checks of the placement and of the lab itself: gaps in the samples, the cost of sampling."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from lab.analysis.checks.trial_view import NoData, Result, TrialView, graded, told
from lab.common.cpus import cpu_list
from lab.common.units import show_percent

# Collectors whose counters the window's figures are made of.
COUNTERS = ("cgroup", "host", "schedstat", "sockets")
ENDS = {"measure": "start", "end": "end"}
TOOK = ("lab", "recorder", "took_ms")


def placement(view: TrialView) -> Iterator[Result]:
    """Server and swarm run on separate CPUs."""
    where = told(view.trial.placement, "the CPU placement was not recorded")
    server, swarm = set(cpu_list(where.server)), set(cpu_list(where.swarm))
    if where.overlap or not server or not swarm or server & swarm:
        message = "the server and the swarm share CPUs, so each takes CPU time from the other"
        yield Result("suspect", message, "use a host with two CPUs or more")


def cpu_sets(view: TrialView) -> Iterator[Result]:
    """Every node may run on the CPUs that it was given, and on no others, before and after the load."""
    if not view.trial.cpu_sets:
        raise NoData("the nodes' CPUs were not read back")
    for one in view.trial.cpu_sets:
        if one.group is None and one.processes is None:
            missing = f"the CPUs of {one.node} could not be read {one.when} the load"
            raise NoData(view.why_missing("cgroup", missing))
        asked = set(cpu_list(one.asked))
        others = [
            f"{what} {cpus}"
            for what, cpus in (("its control group", one.group), ("its processes", one.processes))
            if cpus is not None and not set(cpu_list(cpus)) <= asked
        ]
        if others:
            says = f"{one.node} was to run on CPU {one.asked}; {one.when} the load: {', '.join(others)}"
            yield Result("invalid", says, "find out what moves processes or changes cpusets on this host")


def clocks(view: TrialView) -> Iterator[Result]:
    """Wall clock set, or machine suspended, while the window ran."""
    for metric, limit, what in (
        ("realtime_ms", "clock_step_ms", "the wall clock was set by"),
        ("boottime_ms", "suspended_ms", "the machine was suspended for"),
    ):
        view.increase("host", "clocks", metric)  # both ends are there
        start, end = view.window_ms
        ahead = [
            *view.trial.series.within("host", "clocks", metric, view.window_ms),
            *(view.trial.series.at("host", "clocks", metric, moment) for moment in (start, end)),
        ]
        known = [value for value in ahead if value is not None]
        moved = max(known) - min(known)
        yield from graded(limit, moved, f"{what} {moved:,.0f} ms in the window", "measure again")


def sampling(view: TrialView) -> Iterator[Result]:
    """Gaps in the samples, failed collectors, marks that were missed, and the time that sampling took."""
    for warning in view.trial.warnings:
        yield Result("suspect", warning, "run `lab doctor`: it tells what this host lacks")
    took = [(t, v) for t, v in view.trial.series.get(*TOOK) if _inside(t, view.window_ms)]
    if len(took) < 2:
        raise NoData("the recorder took no samples in the window")
    times = [view.window_ms[0], *(t for t, _ in took), view.window_ms[1]]
    gap_s = max(b - a for a, b in pairwise(times)) / 1000
    yield from graded(
        "sampling_gap_s",
        gap_s,
        f"no samples for {gap_s:.1f} s of the window",
        f"stop other processes on this host, or {view.lower_load}",
    )
    yield from _missed_marks(view)
    cost = sum(v for _, v in took) / (view.window_s * 1000)
    yield from graded(
        "sampling_cost",
        cost,
        f"sampling took {show_percent(cost)} of the window",
        "run the server with fewer processes or threads",
    )


def _missed_marks(view: TrialView) -> Iterator[Result]:
    """Counters that were sampled late at an end of the window, the latest of each mark.

    A line of the server's statistics may be late: its counters are divided by requests of the same line.
    """
    for mark in view.trial.marks:
        late = [
            (at_ms - mark.asked_mono_ms, source)
            for source, at_ms in mark.taken_mono_ms.items()
            if source in COUNTERS and mark.what in ENDS
        ]
        if late:
            late_ms, source = max(late)
            yield from graded(
                "mark_late_ms",
                late_ms,
                f"{source} was sampled {late_ms:.0f} ms after the {ENDS[mark.what]} of the window",
                "stop other processes on this host",
            )


def _inside(mono_ms: float, window_ms: tuple[float, float]) -> bool:
    return window_ms[0] <= mono_ms <= window_ms[1]


def isolation(view: TrialView) -> Iterator[Result]:
    """Plain processes share the host's network and limits: enough for a first look, not for a claim."""
    if not view.isolated:
        yield Result(
            "suspect",
            "not isolated: plain processes without namespaces, cgroups or limits of their own",
            "use the docker runtime for figures that you publish",
        )
