"""Forked children: counted in shared memory, reaped, stopped, and killed when they do not end."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path

from iomodels.native.process import die_with
from iomodels.stats import STATS

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGALRM, signal.SIGCHLD)
_MEMORY_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


class Children:
    """The children of this process; at most `most` at a time."""

    def __init__(self, most: int) -> None:
        self._rows = STATS.share(most)
        self._row_of: dict[int, int] = {}
        self._dead: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self._row_of)

    def fork(self) -> int:
        """fork(2); return 0 in the child, which ends with its parent and counts in shared memory.

        The child has all signals of a stop blocked, as it has its parent's handlers: it calls `grown_up`
        next.

        Raises:
            OSError: EAGAIN at `most`, or what fork says.
        """
        row = self._rows.take()
        if row is None:
            raise OSError(errno.EAGAIN, "no room for another child")
        parent_pid = os.getpid()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            pid = STATS.fork(row)
            if pid == 0:
                die_with(parent_pid)
                return 0
            self._row_of[pid] = row
        except OSError:
            self._rows.free(row)
            raise
        finally:
            if os.getpid() == parent_pid:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return pid

    def reap(self) -> None:
        """Collect who has ended, without waiting or locking: this is all that a SIGCHLD handler may do."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._dead.append((pid, status))

    def settle(self) -> list[tuple[int, int]]:
        """Fold the counters of who has been reaped; return pids and exit codes (negative: by signal)."""
        ended = []
        while self._dead:
            pid, status = self._dead.pop()
            STATS.reaped(self._row_of.pop(pid))
            ended.append((pid, os.waitstatus_to_exitcode(status)))
        return ended

    def wait(self) -> list[tuple[int, int]]:
        """Wait until at least one ends; return as `settle`."""
        if not self._dead:
            pid, status = os.waitpid(-1, 0)
            self._dead.append((pid, status))
        return self.settle()

    def signal(self, number: int) -> None:
        """Send a signal to all of them."""
        for pid in list(self._row_of):
            try:
                os.kill(pid, number)
            except ProcessLookupError:  # waited for already, and only not settled yet
                continue

    def end(self, within_s: float) -> None:
        """Wait for all of them, and kill those that are left after that time."""
        signal.signal(signal.SIGALRM, lambda *_: self.signal(signal.SIGKILL))
        signal.setitimer(signal.ITIMER_REAL, within_s)
        while self._row_of:
            self.wait()
        signal.setitimer(signal.ITIMER_REAL, 0)


def grown_up(stop: Callable[[], object]) -> None:
    """In a new child: take SIGTERM as `stop`; leave SIGINT, which a terminal sends to all, to the parent."""
    signal.signal(signal.SIGTERM, lambda *_: stop())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def room_for(bytes_each: int, most: int) -> int:
    """Return how many children of that size fit into the memory of the container or machine, up to `most`."""
    available = _meminfo_bytes("MemAvailable")
    for path in map(Path, _MEMORY_LIMITS):
        if path.exists() and (text := path.read_text().strip()).isdigit():
            available = min(available, int(text))
    return max(1, min(most, available // bytes_each))


def _meminfo_bytes(key: str) -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return int(value.split()[0]) * 1024
    raise LookupError(f"no {key} in /proc/meminfo")
