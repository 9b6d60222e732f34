"""Signal-driven I/O (fcntl(2)): a real-time signal that carries the descriptor it is about.

The standard library can block and wait for signals, but `signal.sigtimedwait` leaves out `si_fd` and
`si_value`: so the wait is here. The layout is that of ``siginfo_t`` on 64-bit Linux.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import signal
import struct
import threading
from typing import NamedTuple

from iomodels.native import checked, libc

F_SETOWN_EX = 15
F_SETSIG = 10
_F_OWNER_TID = 0
_SIGSET_BYTES = 128
_INFO_BYTES = 128
_FD_OFFSET = 24  # si_fd of SIGPOLL, si_value of a queued signal


class Notice(NamedTuple):
    """A signal: its number, and the descriptor (or the int in its `sigev_value`) it is about."""

    number: int
    fd: int


class _Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


class Signals:
    """Signals that this thread waits for instead of being interrupted by them.

    They are blocked from the first moment on: between arming and waiting none may be delivered to a handler.
    """

    def __init__(self, *numbers: int) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
        self._set = ctypes.create_string_buffer(_SIGSET_BYTES)
        checked(libc.sigemptyset(self._set))
        for number in numbers:
            checked(libc.sigaddset(self._set, number))
        self._info = ctypes.create_string_buffer(_INFO_BYTES)

    def wait(self, timeout_s: float | None) -> Notice | None:
        """Take the next signal from the queue, lowest number first, else wait for one (rt_sigtimedwait(2)).

        Returns None when the time is over or another signal's handler has run.
        """
        timeout = None
        if timeout_s is not None:
            seconds = int(timeout_s)
            timeout = ctypes.byref(_Timespec(seconds, int((timeout_s - seconds) * 1e9)))
        number = libc.sigtimedwait(self._set, self._info, timeout)
        if number == -1:
            code = ctypes.get_errno()
            if code in (errno.EAGAIN, errno.EINTR):
                return None
            raise OSError(code, os.strerror(code))
        return Notice(number, struct.unpack_from("=i", self._info, _FD_OFFSET)[0])


def arm(fd: int, number: int) -> None:
    """Have the calling thread get signal `number` when something happens to `fd`; O_NONBLOCK goes with it."""
    fcntl.fcntl(fd, F_SETOWN_EX, struct.pack("=ii", _F_OWNER_TID, threading.get_native_id()))
    fcntl.fcntl(fd, F_SETSIG, number)
    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_RDWR | os.O_NONBLOCK | fcntl.FASYNC)
