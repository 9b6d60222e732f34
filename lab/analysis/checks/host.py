"""Checks of the host and of the lab itself: was anybody else at work, were samples taken, at what price?"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from lab.analysis.checks.evidence import Evidence, NoData, Said, graded, percent
from lab.common.cpus import cpu_list

BUSY = ("user", "nice", "system", "irq", "softirq")


def host_quiet(e: Evidence) -> Iterator[Said]:
    """Time stolen by the hypervisor, and CPU time that went to nobody of the lab."""
    total_us = sum(e.increase("host", "host", f"cpu_{state}_us") for state in (*BUSY, "idle", "iowait"))
    steal_us = e.increase("host", "host", "cpu_steal_us")
    if not total_us:
        raise NoData("this host's CPU time did not move")
    steal = steal_us / (total_us + steal_us)
    yield from graded(
        "steal",
        steal,
        f"the hypervisor took {percent(steal)} of this host's CPU time",
        "run on a quieter machine, or again at another time",
    )
    # A node's CPU time holds its share of interrupts too: what is left over is at least what others used.
    source = "cgroup" if e.isolated else "procfs"
    ours_us = sum(e.increase(node, source, "cpu_us") for node in e.nodes(source))
    busy_us = sum(e.increase("host", "host", f"cpu_{state}_us") for state in BUSY)
    foreign = max(0.0, busy_us - ours_us) / total_us
    yield from graded(
        "foreign_cpu",
        foreign,
        f"{percent(foreign)} of this host's CPU time went to others than the lab's nodes",
        "stop what else runs here, other containers included",
    )


def placement(e: Evidence) -> Iterator[Said]:
    """The server and the generator on CPUs of their own."""
    where = e.trial.placement
    if "server" not in where or "swarm" not in where:
        raise NoData("which CPUs the nodes ran on was not recorded")
    server, swarm = set(cpu_list(str(where["server"]))), set(cpu_list(str(where["swarm"])))
    if where.get("overlap") or not server or not swarm or server & swarm:
        says = "the server and the swarm share CPUs: each slows the other down"
        yield Said("suspect", says, "use a host with two CPUs or more, and leave placement to the lab")


def sampling(e: Evidence) -> Iterator[Said]:
    """Gaps in the samples, collectors that failed, and the time that sampling took."""
    for warning in e.trial.warnings:
        yield Said("suspect", warning, "the figures of that collector are missing or in part")
    took = [(t, v) for t, v in e.trial.series.get("lab", "recorder", "took_ms") if _inside(t, e.window_ms)]
    if len(took) < 2:
        raise NoData("the recorder took no samples in the window")
    times = [e.window_ms[0], *(t for t, _ in took), e.window_ms[1]]
    gap_s = max(b - a for a, b in pairwise(times)) / 1000
    yield from graded(
        "sampling_gap_s",
        gap_s,
        f"no samples for {gap_s:.1f} s of the window",
        "the host was too busy to sample",
    )
    cost = sum(v for _, v in took) / (e.window_s * 1000)
    yield from graded(
        "sampling_cost",
        cost,
        f"sampling took {percent(cost)} of the window's time",
        "fewer processes and threads in the server, or a CPU for the lab itself",
    )


def _inside(mono_ms: float, window_ms: tuple[float, float]) -> bool:
    return window_ms[0] <= mono_ms <= window_ms[1]


def isolation(e: Evidence) -> Iterator[Said]:
    """Plain processes share the host's network, limits and caches: good for a look, not for a claim."""
    if not e.isolated:
        yield Said(
            "suspect",
            "not isolated: plain processes without namespaces, cgroups and limits of their own",
            "use the docker runtime for figures that others should believe",
        )
