"""A control group that carries the real-time budget of a deployment (cgroups v1, cpu.rt_runtime_us).

A kernel with RT_GROUP_SCHED lets a group run real-time tasks for `cpu.rt_runtime_us` of every
`cpu.rt_period_us` on each CPU; a new group, such as a container's, has 0. The budgets of the groups inside a
group add up to its own at most. Containers with a budget each would divide what one of them may need at a
peak, so the deployment's real-time processes go into one group that has all of it. It is the deployment's
own: no other group is changed, and with its removal the budget is given back. Version 2 has no such budgets.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path

from lab.common import scheduling
from lab.common.errors import HostCannot, LabError
from lab.common.scheduling import Budget
from lab.runtime.journal import Journal

CPU_ROOT = Path("/sys/fs/cgroup/cpu")
PREFIX = "lab-"
# A process in a loop can use all of a CPU, of which the kernel keeps 5 % for others (sched_rt_runtime_us).
# With much less than the rest it would be throttled at rates that it can reach.
LEAST_SHARE = 0.9
REMOVE_S = 5.0


def needs_budget(root: Path = CPU_ROOT) -> bool:
    """Return whether a control group needs a budget before its tasks may be real-time."""
    return (root / "cpu.rt_runtime_us").exists()


def why_no_budget(beside: str, root: Path = CPU_ROOT) -> str | None:
    """Return why a deployment would get no budget now; None where it would. `beside`: see RealTimeGroup."""
    try:
        parent, _ = find_budget(beside, root)
    except HostCannot as error:
        return str(error)
    return None if os.access(parent, os.W_OK) else f"{parent} can be written by root only"


def find_budget(beside: str, root: Path) -> tuple[Path, int]:
    """Return the nearest group above `beside` with enough budget, and what is free. Raises HostCannot."""
    if (root / "cpuacct.usage").exists():
        raise HostCannot(
            "the controllers cpu and cpuacct share a hierarchy: the CPU time of a process that moved to a "
            "group with a budget would no longer be that of its node"
        )
    best_us, period_us = 0, _read(root / "cpu.rt_period_us")
    above = Path(beside.lstrip("/")).parents or (Path(),)  # nothing is above the root
    for parent in (root / name for name in above):
        if not parent.is_dir():
            continue
        period_us = _read(parent / "cpu.rt_period_us")
        best_us = max(best_us, free_us := free_budget_us(parent))
        if free_us >= LEAST_SHARE * period_us:
            return parent, free_us
    raise HostCannot(
        f"{best_us / 1000:g} ms of real-time budget are free in {period_us / 1000:g} ms of each CPU, and "
        f"{LEAST_SHARE * period_us / 1000:g} are needed (cpu.rt_runtime_us)"
    )


class RealTimeGroup:
    """The group `name`, made with its first process, inside the nearest group with enough budget to spare.

    `beside` is a path in the hierarchy, such as the container's /docker/ID: groups above it are tried.
    """

    def __init__(self, name: str, journal: Journal, root: Path = CPU_ROOT) -> None:
        self._name, self._journal, self._root = name, journal, root
        self._path: Path | None = None
        self._lock = threading.Lock()  # nodes start at the same time

    def add(self, pid: int, beside: str) -> Budget:
        """Move a process into the group, make it real-time, return the group's budget.

        Raises HostCannot; then the process is where it was.
        """
        with self._lock:
            if self._path is None:
                self._path = self._make(beside)
        before = self._root / beside.lstrip("/")
        try:
            _write(self._path / "cgroup.procs", pid)
            scheduling.make_real_time(pid)
        except OSError as error:
            _write(before / "cgroup.procs", pid)
            raise HostCannot(f"sched_setscheduler(2): {error.strerror}") from error
        return Budget(_read(self._path / "cpu.rt_runtime_us"), _read(self._path / "cpu.rt_period_us"))

    def remove(self) -> None:
        """Remove the group: its budget is free again. Its processes have ended."""
        if self._path is not None:
            remove(self._path)
            self._path = None

    def _make(self, beside: str) -> Path:
        parent, budget_us = find_budget(beside, self._root)
        path = parent / self._name
        self._journal.will("cpu_group", str(path))
        try:
            path.mkdir()
            try:
                _write(path / "cpu.rt_period_us", _read(parent / "cpu.rt_period_us"))
                _write(path / "cpu.rt_runtime_us", budget_us)
            except OSError:
                path.rmdir()
                raise
        except OSError as error:
            raise HostCannot(f"no real-time budget in {parent}: {error.strerror}") from error
        return path


def free_budget_us(group: Path) -> int:
    """Return what the groups inside `group` leave of its budget, per period of its own."""
    period_us, runtime_us = _read(group / "cpu.rt_period_us"), _read(group / "cpu.rt_runtime_us")
    if runtime_us < 0:  # no limit
        runtime_us = period_us
    for file in group.glob("*/cpu.rt_runtime_us"):
        try:
            runtime_us -= -(-_read(file) * period_us // _read(file.with_name("cpu.rt_period_us")))
        except FileNotFoundError:
            continue  # removed meanwhile
    return max(runtime_us, 0)


def remove(path: Path) -> None:
    """Remove a group once its last process has ended. Raises LabError when that takes too long.

    The budget is set to 0 first: that of a removed group counts until the kernel has let go of it, later.
    """
    until = time.monotonic() + REMOVE_S
    while True:
        try:
            if path.is_dir():
                _write(path / "cpu.rt_runtime_us", 0)
            path.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > until:
                raise LabError(f"{path}: {error.strerror}; its real-time budget is not given back") from error
            time.sleep(0.02)
        else:
            return


def _read(file: Path) -> int:
    return int(file.read_text())


def _write(file: Path, value: int) -> None:
    """Write a number in one write(2), as control files want it."""
    descriptor = os.open(file, os.O_WRONLY)
    try:
        os.write(descriptor, str(value).encode())
    finally:
        os.close(descriptor)
