"""CPU time and run-queue delay of the real-time processes of a deployment, from /proc/PID/schedstat.

Only another real-time task, or the end of the class's budget, keeps a real-time task waiting on the run queue
for long (sched(7)). The kernel counts that wait when the task runs again; control groups of version 1 have no
counter for it. The budget may be changed from outside, so it is sampled too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from lab.common import proc as processes
from lab.common import scheduling
from lab.common.clock import mono_ms
from lab.common.scheduling import REAL_TIME
from lab.results.node import ProcessClass
from lab.results.record import Sample

CPU_ROOT = Path("/sys/fs/cgroup/cpu")
PROCESSOR = 36  # the field of /proc/PID/stat, counted from the state: the CPU that it ran on last


class RealTimeDelay:
    """Samples of each real-time process `ran_us/PID`, `waited_us/PID`, `cpu/PID` and `budget_us/PID`."""

    source = "realtime"

    def __init__(self, scheduled: Callable[[], list[ProcessClass]], proc: Path = Path("/proc")) -> None:
        self._processes, self._proc = scheduled, proc
        self._budgets: dict[int, Path | None] = {}

    def sample(self) -> Iterable[Sample]:
        """Return totals since each process began, the CPU that it ran on last, and its budget a period."""
        for one in self._processes():
            if one.policy == REAL_TIME and one.pid is not None:
                now = mono_ms()
                for name, value in self._read(one.pid):
                    yield Sample(now, one.node, self.source, f"{name}/{one.pid}", value)

    def _read(self, pid: int) -> Iterator[tuple[str, float]]:
        root = self._proc / str(pid)
        try:
            ran, waited, _ = map(int, (root / "schedstat").read_text().split())
            stat = (root / "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return
        yield "ran_us", ran / 1000
        yield "waited_us", waited / 1000
        yield "cpu", float(stat[stat.rindex(")") + 2 :].split()[PROCESSOR])
        yield "budget_us", self._budget_us(pid)

    def _budget_us(self, pid: int) -> float:
        """Return the budget of the process's control group, else the kernel's own."""
        if pid not in self._budgets:
            group = processes.cpu_group(pid)
            file = None if group is None else CPU_ROOT / group.lstrip("/") / "cpu.rt_runtime_us"
            self._budgets[pid] = file if file is not None and file.exists() else None
        file = self._budgets[pid]
        return float(scheduling.kernel_budget().runtime_us if file is None else int(file.read_text()))
