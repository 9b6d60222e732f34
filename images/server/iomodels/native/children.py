"""Forked children: count in shared memory, wait for them, stop them, kill those that do not end."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path

from iomodels.native.process import die_with_parent
from iomodels.stats import STATS

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGALRM, signal.SIGCHLD)
_MEMORY_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


class Children:
    """The children of this process, up to `max_count` at a time."""

    def __init__(self, max_count: int) -> None:
        STATS.make_slots(max_count)
        self._slot_of: dict[int, int] = {}
        self._reaped: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self._slot_of)

    def fork(self) -> int:
        """Fork; return 0 in the child, which ends with its parent and counts in shared memory.

        In the child the stop signals are blocked, as it still has its parent's handlers: call
        `set_child_signals` next.

        Raises:
            OSError: EAGAIN at `max_count` children, or the error of fork.
        """
        slot = STATS.take_slot()
        if slot is None:
            raise OSError(errno.EAGAIN, "the maximum number of children is reached")
        parent_pid = os.getpid()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            pid = STATS.fork(slot)
            if pid == 0:
                die_with_parent(parent_pid)
                return 0
            self._slot_of[pid] = slot
        except OSError:
            STATS.free_slot(slot)
            raise
        finally:
            if os.getpid() == parent_pid:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return pid

    def reap(self) -> None:
        """Reap the children that have ended. It does not block or lock, so a SIGCHLD handler may call it."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._reaped.append((pid, status))

    def take_ended(self) -> list[tuple[int, int]]:
        """Add up the counters of reaped children; return their pids and exit codes (negative: a signal)."""
        ended = []
        while self._reaped:
            pid, status = self._reaped.pop()
            STATS.child_ended(self._slot_of.pop(pid))
            ended.append((pid, os.waitstatus_to_exitcode(status)))
        return ended

    def wait(self) -> list[tuple[int, int]]:
        """Wait until at least one child has ended; return the same as `take_ended`."""
        if not self._reaped:
            pid, status = os.waitpid(-1, 0)
            self._reaped.append((pid, status))
        return self.take_ended()

    def published(self) -> dict[int, int]:
        """Return how often each child has published its counters."""
        return {pid: STATS.published(slot) for pid, slot in list(self._slot_of.items())}

    def signal(self, number: int) -> None:
        """Send a signal to all children."""
        for pid in list(self._slot_of):
            try:
                os.kill(pid, number)
            except ProcessLookupError:  # reaped, but not yet taken by `take_ended`
                continue

    def wait_or_kill(self, timeout_s: float) -> None:
        """Wait for all children, and kill those that are left after that time."""
        signal.signal(signal.SIGALRM, lambda *_: self.signal(signal.SIGKILL))
        signal.setitimer(signal.ITIMER_REAL, timeout_s)
        while self._slot_of:
            self.wait()
        signal.setitimer(signal.ITIMER_REAL, 0)


def set_child_signals(stop: Callable[[], object]) -> None:
    """In a new child, let SIGTERM call `stop`. Ignore SIGINT: a terminal sends it to the parent too."""
    signal.signal(signal.SIGTERM, lambda *_: stop())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def max_children(bytes_each: int, limit: int) -> int:
    """Return how many children of that size fit into the available memory, up to `limit`."""
    available = _meminfo_bytes("MemAvailable")
    for path in map(Path, _MEMORY_LIMITS):
        if path.exists() and (text := path.read_text().strip()).isdigit():
            available = min(available, int(text))
    return max(1, min(limit, available // bytes_each))


def _meminfo_bytes(key: str) -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return int(value.split()[0]) * 1024
    raise LookupError(f"no {key} in /proc/meminfo")
