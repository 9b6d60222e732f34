"""prctl(2): a child that must not outlive its parent."""

from __future__ import annotations

import os
import signal

from iomodels.native import checked, libc

_PR_SET_PDEATHSIG = 1


def die_with(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent ends; call it first thing in the child."""
    checked(libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0))
    if os.getppid() != parent_pid:  # it ended before the call
        os._exit(1)
