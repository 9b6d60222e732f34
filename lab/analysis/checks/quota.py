"""How a CPU quota held a node back: its own, or that of a control group above it (cgroups(7))."""

from __future__ import annotations

from collections.abc import Iterator

from lab.analysis.checks.trial_view import Result, TrialView, graded
from lab.common.units import show_percent


def held_back(view: TrialView, node: str, remedy: str) -> Iterator[Result]:
    """Judge the share of throttled periods of each quota. Without a quota in force there are no periods.

    Raises NoData where the periods were not sampled.
    """
    for group in ("", *_above(view, node)):
        periods = view.increase(node, "cgroup", f"cpu_periods{group}")
        held = view.increase(node, "cgroup", f"cpu_throttled{group}")
        if periods:
            whose = f"the CPU quota of {group}, above it" if group else "its CPU quota"
            name = f"the {node}" if node == "server" else node
            message = f"{name} was throttled in {show_percent(held / periods)} of the periods of {whose}"
            yield from graded("throttled", held / periods, message, remedy)


def _above(view: TrialView, node: str) -> Iterator[str]:
    """Return the groups above a node's own, as paths: `/docker`."""
    for metric in view.metrics(node, "cgroup"):
        name, slash, path = metric.partition("/")
        if name == "cpu_periods" and slash:
            yield f"/{path}"
