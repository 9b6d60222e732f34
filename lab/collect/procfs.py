"""Threads, resident memory, descriptors and context switches of a node's processes, from /proc (proc(5))."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from lab.common.clock import mono_ms
from lab.results.record import Sample

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# Summing context switches means reading one file per thread: with thousands of threads the reading would be
# the load. Above this the server's own getrusage(2) figures stand alone.
MOST_TASKS = 64
# The thread of the lab's own servers that prints statistics (images/CONTRACT.md). It is none of the model's.
REPORTER = "lab-reporter"
# A sample up to FREE_MS is free; one that takes longer is followed by a pause PAUSE_FACTOR times as long.
FREE_MS, PAUSE_FACTOR = 1.0, 1000


class Procfs:
    """Sums over the processes of a node. `pids(node)` is called at every sample, because servers fork.

    The kernel walks all threads of a process for its sums, uninterrupted. A node that takes long to sample is
    sampled less often, so that sampling takes at most 1/PAUSE_FACTOR of the time.
    """

    source = "procfs"

    def __init__(self, nodes: Iterable[str], pids: Callable[[str], list[int]]) -> None:
        self._nodes = tuple(nodes)
        self._pids = pids
        self._not_before_ms: dict[str, float] = {}
        self._reporters: dict[int, float] = {}  # pid → such threads, when it last had few threads

    def force_sample(self) -> None:
        """Sample every node the next time."""
        self._not_before_ms.clear()

    def sample(self) -> Iterable[Sample]:
        """Yield processes, threads, rss_bytes, descriptors, cpu_us; switches_* where the threads are few."""
        for node in self._nodes:
            now = mono_ms()
            if now < self._not_before_ms.get(node, 0.0):
                continue
            pids = self._pids(node)
            totals = {"processes": float(len(pids)), **_sums([self._own(pid) for pid in pids])}
            self._not_before_ms[node] = mono_ms() + PAUSE_FACTOR * (mono_ms() - now - FREE_MS)
            if totals.get("threads", 0) > MOST_TASKS:
                totals.pop("switches_voluntary", None)
                totals.pop("switches_involuntary", None)
            if pids:
                yield from (Sample(now, node, self.source, metric, value) for metric, value in totals.items())

    def _own(self, pid: int) -> dict[str, float]:
        """Return what a process uses, without its reporter among the threads."""
        seen = _process(pid)
        if (reporters := seen.pop("reporters", None)) is not None:
            self._reporters[pid] = reporters
        if seen:
            seen["threads"] -= self._reporters.get(pid, 0.0)
        return seen


def _sums(each: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the sums of what can be read of every process; those that have gone are left out."""
    there = [one for one in each if one]
    metrics = [name for name in there[0] if all(name in one for one in there)] if there else []
    return {name: sum(one[name] for one in there) for name in metrics}


def _process(pid: int) -> dict[str, float]:
    root = Path("/proc") / str(pid)
    try:
        fields = _after_name((root / "stat").read_text())
        totals = {
            "threads": float(fields[17]),
            "rss_bytes": float(fields[21]) * os.sysconf("SC_PAGE_SIZE"),
            # utime, stime, and those of reaped children: a sum over living processes keeps them.
            "cpu_us": sum(map(float, fields[11:15])) * 1e6 / TICKS_PER_S,
        }
        totals |= _descriptors(root / "fd")
        if totals["threads"] <= MOST_TASKS:
            totals["reporters"] = 0.0
            for task in (root / "task").iterdir():
                _add_task(totals, (task / "status").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return totals


def _after_name(stat: str) -> list[str]:
    # The second field is the program's name in brackets and may hold spaces and brackets itself.
    return stat[stat.rindex(")") + 2 :].split()


def _descriptors(folder: Path) -> dict[str, float]:
    # Since Linux 6.2 the size of /proc/PID/fd is the number of open descriptors; before it is 0.
    try:
        return {"descriptors": float(folder.stat().st_size or sum(1 for _ in folder.iterdir()))}
    except PermissionError:
        return {}


def _add_task(totals: dict[str, float], status: str) -> None:
    """Add a thread's context switches; count it if it is a reporter."""
    for line in status.splitlines():
        key, _, value = line.partition(":")
        if key == "Name" and value.strip() == REPORTER:
            totals["reporters"] += 1
        if key.endswith("_ctxt_switches"):
            name = "switches_involuntary" if key.startswith("non") else "switches_voluntary"
            totals[name] = totals.get(name, 0.0) + float(value)
