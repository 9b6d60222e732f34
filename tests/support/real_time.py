"""What tests of the real-time class share: a budget of this host, and a process that burns CPU time."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.runtime import realtime

POLICY = 38  # the field of /proc/PID/stat (41 in proc_pid_stat(5)), counted from the state
SCHED_RR = 2
WAIT_S = 120.0  # a trial of another test may have the budget
BURN = """
import sys, time
share = float(sys.argv[1])
while True:
    end = time.thread_time() + 0.01 * share
    while time.thread_time() < end: pass
    time.sleep(0.01 * (1 - share))
"""


@contextmanager
def only_one() -> Iterator[None]:
    """Let one test at a time have the budget, whichever process runs it: this kernel gives it only once."""
    lock = Path(tempfile.gettempdir()) / "lab-tests-real-time.lock"
    with lock.open("w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def need_budget() -> None:
    """Wait until this host's real-time budget is free. Skips where there is none for us."""
    if not realtime.needs_budget():
        pytest.skip("this kernel has no real-time budgets (RT_GROUP_SCHED with cgroups v1)")
    if os.geteuid() != 0:
        pytest.skip("needs root")
    end = time.monotonic() + WAIT_S
    while says := realtime.why_no_budget("/docker/one"):
        if time.monotonic() > end:
            pytest.skip(says)
        time.sleep(0.2)


def stat_policy(pid: int) -> int:
    """The scheduling policy of a process by /proc/PID/stat."""
    text = Path(f"/proc/{pid}/stat").read_text()
    return int(text[text.rindex(")") + 2 :].split()[POLICY])


@contextmanager
def burning(share: float, **more: object) -> Iterator[int]:
    """A process that wants that share of a CPU; yields its pid."""
    with subprocess.Popen([sys.executable, "-c", BURN, str(share)], **more) as process:  # type: ignore[call-overload]
        try:
            yield process.pid
        finally:
            process.kill()


@contextmanager
def budget_taken(name: str) -> Iterator[Path]:
    """A group of somebody else's that has the whole budget of this host."""
    need_budget()
    path = realtime.CPU_ROOT / name
    path.mkdir()
    try:
        (path / "cpu.rt_runtime_us").write_text(str(realtime.free_budget_us(realtime.CPU_ROOT)))
        yield path
    finally:
        realtime.remove(path)
