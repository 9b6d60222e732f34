"""On which CPUs a node may run, read back: of its control group, and of its processes (cpuset(7))."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from lab.collect.cgroup import CGROUP_ROOT
from lab.plan.topology import Topology
from lab.results.node import CpuSet
from lab.runtime import Deployment

MOST_PROCESSES = 64


def read_back(
    deployment: Deployment, topology: Topology, when: Literal["before", "after"], root: Path = CGROUP_ROOT
) -> tuple[CpuSet, ...]:
    """Every node of which CPUs were asked, with those in force; None for what cannot be read here."""
    found = []
    for node in topology.nodes:
        if node.cpu_set:
            path = deployment.cgroup(node.name)
            group = _of_group(root, path.lstrip("/")) if path else None
            processes = _of_processes(deployment.pids(node.name)[:MOST_PROCESSES])
            found.append(
                CpuSet(node=node.name, when=when, asked=node.cpu_set, group=group, processes=processes)
            )
    return tuple(found)


def _of_group(root: Path, path: str) -> str | None:
    version_2 = root / path / "cpuset.cpus.effective"
    version_1 = [root / "cpuset" / path / name for name in ("cpuset.effective_cpus", "cpuset.cpus")]
    for file in (version_2, *version_1):
        try:
            return file.read_text().strip()
        except OSError:
            continue
    return None


def _of_processes(pids: list[int]) -> str | None:
    """All CPUs that any of the processes may run on."""
    cpus: set[int] = set()
    for pid in pids:
        try:
            cpus |= os.sched_getaffinity(pid)
        except (ProcessLookupError, PermissionError):
            continue
    return ",".join(map(str, sorted(cpus))) or None
