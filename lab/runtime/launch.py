"""Become a node of the local runtime: `python -I -S launch.py SETTINGS argv…`, standard library only.

It is a program of its own because its work must happen between fork and exec, where a process with threads
must not run Python code (the Python manual on os.fork).
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Set limits and CPUs, arrange to be killed with the parent, then exec."""
    settings = json.loads(sys.argv[1])
    # prctl(2): SIGKILL when the thread that started us ends. The parent may be gone before we got here.
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != settings["parent"]:
        os._exit(3)
    try:
        if settings["cpus"]:
            os.sched_setaffinity(0, settings["cpus"])
        # A policy is inherited: that of a lab that was started by chrt(1) must not become the server's.
        if os.sched_getscheduler(0) in (os.SCHED_FIFO, os.SCHED_RR):
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        if settings["nofile"]:
            resource.setrlimit(resource.RLIMIT_NOFILE, (settings["nofile"], settings["nofile"]))
        os.execvp(sys.argv[2], sys.argv[2:])
    except (OSError, ValueError) as error:
        sys.stderr.write(f"cannot start {sys.argv[2]}: {error}\n")
        sys.exit(3)


if __name__ == "__main__":
    main()
