"""Have a task that sends on time run soon after it wakes: by the real-time class, or by a short time slice.

A real-time task runs before every task of the usual class (sched(7)).

Since Linux 6.12 a waking task with a shorter slice may preempt one with a longer slice. A task sets its own
slice with sched_setattr(2), `sched_runtime` from 0.1 ms up, and needs no privilege. Older kernels ignore it.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct

# The system call number of sched_setattr(2) for each machine (asm/unistd.h).
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
_SCHED_NORMAL = 0
SLICE_NS = 100_000  # the shortest slice that the kernel accepts
_PR_SET_TIMERSLACK = 29
_TIMER_SLACK_NS = 1  # the default is 50 us
REAL_TIME_PRIORITY = 1  # the lowest: the kernel's own real-time threads go first
_POLICIES = {
    os.SCHED_OTHER: "SCHED_OTHER",
    os.SCHED_FIFO: "SCHED_FIFO",
    os.SCHED_RR: "SCHED_RR",
    os.SCHED_BATCH: "SCHED_BATCH",
    os.SCHED_IDLE: "SCHED_IDLE",
}
NOT_ASKED = "not asked for"


def policy(pid: int) -> str:
    """Return the scheduling policy of a process by its name in sched(7), such as `SCHED_RR`."""
    number = os.sched_getscheduler(pid)
    return _POLICIES.get(number, f"policy {number}")


def make_real_time(pid: int) -> str | None:
    """Put a process into SCHED_RR at the lowest priority; return why that failed, or None.

    It takes a limit RLIMIT_RTPRIO of at least 1, or CAP_SYS_NICE; where the kernel has RT_GROUP_SCHED, the
    control group of the process needs a budget as well (sched(7)).
    """
    try:
        os.sched_setscheduler(pid, os.SCHED_RR, os.sched_param(REAL_TIME_PRIORITY))
    except OSError as error:
        return f"sched_setscheduler(2): {error.strerror}"
    return None


def set_short_slice() -> None:
    """Give the calling thread a slice of 0.1 ms and timers without slack (prctl(2), PR_SET_TIMERSLACK).

    Does nothing about the slice on machines whose system call number is not known.

    Raises:
        OSError: The kernel refuses the slice.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_TIMERSLACK, _TIMER_SLACK_NS, 0, 0, 0)
    number = _SCHED_SETATTR.get(platform.machine())
    if number is None:
        return
    # struct sched_attr, first version: size, policy, flags, nice, priority, runtime, deadline, period.
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    attributes = struct.pack("IIQiIQQQ", 48, _SCHED_NORMAL, 0, nice, 0, SLICE_NS, 0, 0)
    if libc.syscall(number, 0, attributes, 0) < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"sched_setattr(2): {os.strerror(code)}")
