"""Scheduling policies of processes of this host, by their names in sched(7)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

OTHER, REAL_TIME = "SCHED_OTHER", "SCHED_RR"
PRIORITY = 1  # of SCHED_RR, the lowest: the kernel's own real-time threads go first
_NAMES = {
    os.SCHED_OTHER: OTHER,
    os.SCHED_FIFO: "SCHED_FIFO",
    os.SCHED_RR: REAL_TIME,
    os.SCHED_BATCH: "SCHED_BATCH",
    os.SCHED_IDLE: "SCHED_IDLE",
}


KERNEL = Path("/proc/sys/kernel")


class Budget(NamedTuple):
    """For how long real-time tasks may run on a CPU in every period; after that they are throttled."""

    runtime_us: int
    period_us: int


def kernel_budget(root: Path = KERNEL) -> Budget:
    """Return the kernel's own budget, of all real-time tasks of a CPU together (sched(7))."""
    period_us, runtime_us = (
        int((root / f"sched_rt_{name}_us").read_text()) for name in ("period", "runtime")
    )
    return Budget(period_us if runtime_us < 0 else runtime_us, period_us)  # -1: no limit


def policy(pid: int) -> str | None:
    """Return the policy of a process; None if there is no such process."""
    try:
        number = os.sched_getscheduler(pid) & ~os.SCHED_RESET_ON_FORK
    except ProcessLookupError:
        return None
    return _NAMES.get(number, f"policy {number}")


def make_real_time(pid: int) -> None:
    """Put a process into SCHED_RR at the lowest priority. Raises OSError, as sched_setscheduler(2) does."""
    os.sched_setscheduler(pid, os.SCHED_RR, os.sched_param(PRIORITY))
