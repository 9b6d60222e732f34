"""By how much the host disturbed a test that measures time, and another try where it did.

The host disturbed a test if processes of others used more than OTHERS_CPUS while it ran, or if the hypervisor
stole more than STOLEN_CPUS. Then a failure proves nothing, and the test is tried again, TRIES times in all. A
failure on a quiet host fails at once.

Source: proc(5). `idle` and `iowait` of /proc/stat are exact where the kernel stops its tick on an idle CPU;
`user` and `system` are sampled. So others used what was not idle, not stolen, not used by this process, its
descendants or the Docker engine, and not spent in interrupts: they deliver the test's own packets too.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TRIES = 3
OTHERS_CPUS = 0.05
STOLEN_CPUS = 0.005
ENGINE = ("dockerd", "containerd")  # a containerd-shim, the parent of a container, is a child of init
PROC = Path("/proc")
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
STATES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


@dataclass(frozen=True)
class Reading:
    """CPU seconds since boot: of the whole host by state, and of a process and its descendants."""

    at_s: float
    cpus: int
    host_s: dict[str, float]
    ours_s: float
    waited_s: float


@dataclass(frozen=True)
class Disturbance:
    """What others took while a test ran, in CPUs; how long its own processes waited for one, in seconds."""

    others_cpus: float
    stolen_cpus: float
    waited_s: float
    over_s: float

    @property
    def counts(self) -> bool:
        """Whether it is beyond the limits."""
        return self.others_cpus > OTHERS_CPUS or self.stolen_cpus > STOLEN_CPUS

    def __str__(self) -> str:
        return (
            f"in {self.over_s:.1f} s others used {self.others_cpus:.3f} CPUs (limit {OTHERS_CPUS:g}), "
            f"{self.stolen_cpus:.4f} were stolen (limit {STOLEN_CPUS:g}), "
            f"the test's processes waited {self.waited_s:.2f} s for a CPU"
        )


def read(pid: int | None = None) -> Reading:
    """Read the counters of the host, and of a process (by default this one) with its descendants."""
    lines = [line.split() for line in (PROC / "stat").read_text().splitlines() if line.startswith("cpu")]
    total, each = lines[0], lines[1:]
    host_s = {state: int(ticks) * TICK_S for state, ticks in zip(STATES, total[1:], strict=False)}
    family = _family(pid or os.getpid())
    ours_s = sum(sum(map(int, fields[11:15])) for fields in family.values()) * TICK_S
    waited_s = sum(_waited_s(member) for member in family)
    return Reading(time.monotonic(), len(each), host_s, ours_s, waited_s)


def between(before: Reading, after: Reading) -> Disturbance:
    """What others took between two readings."""
    over_s = max(after.at_s - before.at_s, TICK_S)
    spent_s = {state: after.host_s[state] - before.host_s[state] for state in before.host_s}
    not_others_s = sum(spent_s[state] for state in ("idle", "iowait", "irq", "softirq", "steal"))
    others_s = before.cpus * over_s - not_others_s - (after.ours_s - before.ours_s)
    return Disturbance(
        others_cpus=max(others_s, 0.0) / over_s,
        stolen_cpus=spent_s["steal"] / over_s,
        waited_s=max(after.waited_s - before.waited_s, 0.0),
        over_s=over_s,
    )


def tried_again(test: Callable[..., Any], tell: Callable[[str], None]) -> Callable[..., Any]:
    """Return the test with up to TRIES tries; `tell` is given a line for each try that proved nothing."""

    @functools.wraps(test)
    def tries(*arguments: Any, **fixtures: Any) -> Any:
        number = 1
        while True:
            before = read()
            try:
                return test(*arguments, **fixtures)
            except Exception as error:
                seen = between(before, read())
                error.add_note(f"the host: {seen}")
                if number == TRIES or not seen.counts:
                    raise
                tell(f"disturbed, so tried again ({number} of {TRIES} tries): {seen}")
                number += 1

    return tries


def _family(root: int) -> dict[int, list[str]]:
    """The process, the engine and their living descendants: by pid, the fields of stat from the state on."""
    stats: dict[int, list[str]] = {}
    parents = {root}
    for path in PROC.glob("[0-9]*/stat"):
        try:
            head, _, rest = path.read_text().rpartition(")")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
        stats[int(path.parent.name)] = rest.split()
        if head.partition("(")[2].startswith(ENGINE):
            parents.add(int(path.parent.name))
    found = {pid: stats[pid] for pid in parents}
    while parents:
        parents = {pid for pid, fields in stats.items() if int(fields[1]) in parents and pid not in found}
        found |= {pid: stats[pid] for pid in parents}
    return found


def _waited_s(pid: int) -> float:
    """How long a process's living threads were ready to run and did not: /proc/PID/task/TID/schedstat."""
    total_ns = 0
    for path in PROC.glob(f"{pid}/task/*/schedstat"):
        try:
            total_ns += int(path.read_text().split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total_ns / 1e9
