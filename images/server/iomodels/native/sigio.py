"""Signal-driven I/O (fcntl(2)): real-time signals that carry a descriptor.

The standard library can block signals and wait for them, but `signal.sigtimedwait` does not return `si_fd`
and `si_value`. So the wait is here. The offsets are those of ``siginfo_t`` on 64-bit Linux.
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


class SignalInfo(NamedTuple):
    """A signal: its number, and its descriptor (`si_fd`, or the int in `sigev_value`)."""

    number: int
    fd: int


class _Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


class Signals:
    """Signals that this thread blocks and takes from the queue.

    They are blocked at once: none may be delivered between `enable_signals` and the first `wait`, where it
    would kill the process.
    """

    def __init__(self, *numbers: int) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
        self._set = ctypes.create_string_buffer(_SIGSET_BYTES)
        checked(libc.sigemptyset(self._set))
        for number in numbers:
            checked(libc.sigaddset(self._set, number))
        self._info = ctypes.create_string_buffer(_INFO_BYTES)

    def wait(self, timeout_s: float | None) -> SignalInfo | None:
        """Take the next signal from the queue, lowest number first, or wait for one (rt_sigtimedwait(2)).

        Returns None after a timeout, or when the handler of another signal has run.
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
        return SignalInfo(number, struct.unpack_from("=i", self._info, _FD_OFFSET)[0])


def enable_signals(fd: int, number: int) -> None:
    """Let the kernel queue signal `number` for the calling thread at each event on `fd`; set O_NONBLOCK."""
    fcntl.fcntl(fd, F_SETOWN_EX, struct.pack("=ii", _F_OWNER_TID, threading.get_native_id()))
    fcntl.fcntl(fd, F_SETSIG, number)
    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_RDWR | os.O_NONBLOCK | fcntl.FASYNC)
