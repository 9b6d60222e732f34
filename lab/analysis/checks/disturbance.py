"""What the hypervisor and other processes took of the CPUs that server and swarm run on.

What others used is found from the idle time: `idle` and `iowait` of /proc/stat are exact where the kernel
stops its tick on an idle CPU (proc_stat(5), CONFIG_NO_HZ_IDLE), and so are the totals of a control group. The
busy states are sampled at the tick, and alias with a load that is timed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from lab.analysis.checks.trial_view import SERVER, NoData, Result, TrialView, graded, told
from lab.common.cpus import cpu_list
from lab.common.units import show_percent

LAB = "lab"
NOT_OTHERS = ("idle", "iowait", "irq", "softirq", "steal")
QUIET = "stop other processes and containers on this host, or use CPUs that they do not run on"


class Side(NamedTuple):
    """The CPUs of the server or of the swarm, and what of the lab runs on them."""

    name: str
    cpus: tuple[int, ...]
    nodes: tuple[str, ...]


class Share(NamedTuple):
    """A share of the time of some CPUs."""

    value: float
    cpus: str


def host_quiet(view: TrialView) -> Iterator[Result]:
    """CPU time stolen by the hypervisor, and used by others, on the worst CPU of server and swarm."""
    for side in sides(view):
        each = [(_of_cpu(view, cpu, "steal") / _wall_us(view), cpu) for cpu in side.cpus]
        steal, worst = max(each)
        yield from graded(
            "steal",
            steal,
            f"on CPU {worst} of the {side.name}, steal time {show_percent(steal)}",
            "run on a quieter machine, or at another time",
        )
        others = max(_others(view, side))
        message = f"on {others.cpus} of the {side.name}, other processes used {show_percent(others.value)}"
        yield from graded("foreign_cpu", others.value, message, QUIET)


def run_delay(view: TrialView) -> Iterator[Result]:
    """How long a server or an engine of one task waited for its CPU while others had it, at the least.

    What other tasks of the lab used of the same CPUs, and what a quota held back, is taken off.
    """
    engines = 0
    for side in sides(view):
        delays = list(_delays(view, side))
        engines += sum(node != SERVER for _, node in delays)
        if delays:
            waited, node = max(delays)
            share = waited / _wall_us(view)
            message = f"{node} waited {show_percent(share)} of the window for a CPU that others used"
            yield from graded("run_delay", share, message, QUIET)
    if not engines:
        missing = "how long the engines waited for a CPU was not sampled (/proc/PID/schedstat)"
        raise NoData(view.why_missing("schedstat", missing))


def sides(view: TrialView) -> list[Side]:
    """Return the CPUs of the server and of the swarm; on a host with one CPU they are the same."""
    where = told(view.trial.placement, "the CPU placement was not recorded")
    server, swarm = tuple(cpu_list(where.server)), tuple(cpu_list(where.swarm))
    if not server or not swarm:
        raise NoData("the CPUs of the server and of the swarm were not recorded")
    nodes = view.swarm_nodes
    helpers = [node for node in view.nodes(_source(view)) if node not in (SERVER, *nodes)]
    if set(server) & set(swarm):
        both = tuple(sorted({*server, *swarm}))
        return [Side("server and swarm", both, (SERVER, *nodes, *helpers, LAB))]
    return [Side("server", server, (SERVER,)), Side("swarm", swarm, (*nodes, *helpers, LAB))]


def _others(view: TrialView, side: Side) -> Iterator[Share]:
    """Return what others used: of each CPU where nodes' time is told by CPU, else of all of them together."""
    if all(_by_cpu(view, node, side.cpus[0]) is not None for node in side.nodes if node != LAB):
        for cpu in side.cpus:
            used = sum(_by_cpu(view, node, cpu) or 0.0 for node in side.nodes) + _lab_us(view, side)
            yield _share(view, (cpu,), used)
    else:
        yield _share(view, side.cpus, _used_us(view, side))


def _share(view: TrialView, cpus: tuple[int, ...], used_us: float) -> Share:
    wall_us = _wall_us(view) * len(cpus)
    spent_us = sum(_of_cpu(view, cpu, state) for cpu in cpus for state in NOT_OTHERS)
    plural = "s" if len(cpus) > 1 else ""
    name = f"CPU{plural} {','.join(map(str, cpus))}"
    return Share(max(0.0, wall_us - spent_us - used_us) / wall_us, name)


def _delays(view: TrialView, side: Side) -> Iterator[tuple[float, str]]:
    """(µs waited because of others, node) of each process that was sampled over the window."""
    used_us = _used_us(view, side)
    for node in side.nodes:
        held_us = _throttled_us(view, node)
        for metric in view.metrics(node, "schedstat"):
            name, _, pid = metric.partition("/")
            if name != "waited_us":
                continue
            waited = _increase(view, node, "schedstat", metric)
            ran = _increase(view, node, "schedstat", f"ran_us/{pid}")
            if waited is not None and ran is not None and _throughout(view, node, metric):
                yield max(0.0, waited - held_us - max(0.0, used_us - ran)), node


def _throughout(view: TrialView, node: str, metric: str) -> bool:
    """Whether a process was sampled all through the window: one that had many threads meanwhile was not."""
    seen = view.trial.series.within(node, "schedstat", metric, view.window_ms)
    return len(seen) >= view.window_s / 2


def _throttled_us(view: TrialView, node: str) -> float:
    """How long quotas held a node back, its own and those of groups above: it waits then, too."""
    metrics = (m for m in view.metrics(node, "cgroup") if m.partition("/")[0] == "cpu_throttled_us")
    return sum(_increase(view, node, "cgroup", metric) or 0.0 for metric in metrics)


def _used_us(view: TrialView, side: Side) -> float:
    """CPU time of everything of the lab on a side's CPUs. Raises NoData where a node was not sampled."""
    needed = (SERVER, *view.swarm_nodes)
    source = _source(view)
    used = [view.increase(node, source, "cpu_us") for node in side.nodes if node in needed]
    # A helper may begin within the window.
    more = [_increase(view, node, source, "cpu_us") or 0.0 for node in side.nodes if node not in needed]
    return sum(used) + sum(more) + _lab_us(view, side)


def _lab_us(view: TrialView, side: Side) -> float:
    """Return the orchestrator's CPU time; earlier records do not have it."""
    return (_increase(view, LAB, "orchestrator", "cpu_us") or 0.0) if LAB in side.nodes else 0.0


def _by_cpu(view: TrialView, node: str, cpu: int) -> float | None:
    return _increase(view, node, "cgroup", f"cpu{cpu}_us")


def _of_cpu(view: TrialView, cpu: int, state: str) -> float:
    return view.increase("host", "host", f"cpu{cpu}_{state}_us")


def _increase(view: TrialView, node: str, source: str, metric: str) -> float | None:
    return view.trial.series.increase(node, source, metric, view.window_ms)


def _source(view: TrialView) -> str:
    return "cgroup" if view.isolated else "procfs"


def _wall_us(view: TrialView) -> float:
    return view.window_s * 1e6
