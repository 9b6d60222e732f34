"""Checks of the host and of the lab itself: other load, gaps in the samples, the cost of sampling."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from lab.analysis.checks.trial_view import NoData, Result, TrialView, graded, told
from lab.common.cpus import cpu_list
from lab.common.units import show_percent

BUSY = ("user", "nice", "system", "irq", "softirq")


def host_quiet(view: TrialView) -> Iterator[Result]:
    """CPU time stolen by the hypervisor, and CPU time used outside the lab's nodes."""
    total_us = sum(view.increase("host", "host", f"cpu_{state}_us") for state in (*BUSY, "idle", "iowait"))
    steal_us = view.increase("host", "host", "cpu_steal_us")
    if not total_us:
        raise NoData("this host's CPU time did not move")
    steal = steal_us / (total_us + steal_us)
    yield from graded(
        "steal",
        steal,
        f"steal time {show_percent(steal)} of the host's CPU time",
        "run on a quieter machine, or at another time",
    )
    # A node's CPU time includes interrupts taken while it ran: the rest is a lower bound of foreign use.
    source = "cgroup" if view.isolated else "procfs"
    ours_us = sum(view.increase(node, source, "cpu_us") for node in view.nodes(source))
    busy_us = sum(view.increase("host", "host", f"cpu_{state}_us") for state in BUSY)
    foreign = max(0.0, busy_us - ours_us) / total_us
    yield from graded(
        "foreign_cpu",
        foreign,
        f"other processes used {show_percent(foreign)} of the host's CPU time",
        "stop other processes and containers on this host",
    )


def placement(view: TrialView) -> Iterator[Result]:
    """Server and swarm run on separate CPUs."""
    where = told(view.trial.placement, "the CPU placement was not recorded")
    server, swarm = set(cpu_list(where.server)), set(cpu_list(where.swarm))
    if where.overlap or not server or not swarm or server & swarm:
        message = "the server and the swarm share CPUs, so each takes CPU time from the other"
        yield Result("suspect", message, "use a host with two CPUs or more")


def sampling(view: TrialView) -> Iterator[Result]:
    """Gaps in the samples, failed collectors, and the time that sampling took."""
    for warning in view.trial.warnings:
        yield Result("suspect", warning, "run `lab doctor`: it tells what this host lacks")
    took = [
        (t, v) for t, v in view.trial.series.get("lab", "recorder", "took_ms") if _inside(t, view.window_ms)
    ]
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
    cost = sum(v for _, v in took) / (view.window_s * 1000)
    yield from graded(
        "sampling_cost",
        cost,
        f"sampling took {show_percent(cost)} of the window",
        "run the server with fewer processes or threads",
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
