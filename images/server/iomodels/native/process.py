"""prctl(2): the kernel kills a child when its parent ends; names of threads."""

from __future__ import annotations

import os
import signal

from iomodels.native import checked, libc

_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15


def die_with_parent(parent_pid: int) -> None:
    """Let the kernel kill this process when its parent ends. Call it first in the child."""
    checked(libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0))
    if os.getppid() != parent_pid:  # the parent ended before the call
        os._exit(1)


def name_thread(name: str) -> None:
    """Name the calling thread, in at most 15 bytes: /proc/PID/task/TID/comm shows it."""
    checked(libc.prctl(_PR_SET_NAME, name.encode(), 0, 0, 0))
