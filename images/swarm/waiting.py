"""Waiting for descriptors and for a moment, with microsecond resolution.

`epoll_wait(2)` waits in whole milliseconds and Python rounds up; worse, its timeout is subject to the
thread's timer slack (50 us, prctl(2) PR_SET_TIMERSLACK). A `timerfd_create(2)` descriptor has neither. It
is armed at an absolute CLOCK_MONOTONIC time and registered edge-triggered: setting it again clears the
expirations, so it is never read. Python has timerfd from 3.13 on; until then two C calls.
"""

from __future__ import annotations

import ctypes
import os
import select
from collections.abc import Callable
from time import monotonic

CLOCK_MONOTONIC = 1
TFD_TIMER_ABSTIME = 1
TFD_NONBLOCK, TFD_CLOEXEC = os.O_NONBLOCK, os.O_CLOEXEC
MAX_WAIT_S = 1.0  # a bound on every wait, whatever the timer does

_libc = ctypes.CDLL(None, use_errno=True)


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("it_interval", _Timespec), ("it_value", _Timespec))


class Timer:
    """One absolute alarm on a file descriptor."""

    def __init__(self) -> None:
        self.fd = _libc.timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._spec = _Itimerspec()
        self._value = self._spec.it_value
        self._arguments = (self.fd, TFD_TIMER_ABSTIME, ctypes.byref(self._spec), None)
        self._armed_s = 0.0

    def arm(self, at_s: float) -> None:
        """Let the descriptor become ready at `time.monotonic()` == `at_s`; at once if that is past."""
        if at_s == self._armed_s:
            return
        whole = int(at_s)
        self._value.tv_sec, self._value.tv_nsec = whole, int((at_s - whole) * 1e9)
        if _libc.timerfd_settime(*self._arguments) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")
        self._armed_s = at_s


class Waiter:
    """An epoll set that also wakes at a given moment, and the descriptors that have a reader of their own."""

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self._timer = Timer()
        self.epoll.register(self._timer.fd, select.EPOLLIN | select.EPOLLET)
        self._readers: dict[int, Callable[[], None]] = {}

    def watch(self, fd: int, reader: Callable[[], None]) -> None:
        """Have `reader` called by `call` when the descriptor is readable."""
        self._readers[fd] = reader
        self.epoll.register(fd, select.EPOLLIN)

    def wait(self, due_s: float, batch: int) -> list[tuple[int, int]]:
        """Return up to `batch` (descriptor, events), at the latest when `due_s` has come."""
        if due_s <= monotonic():
            return self.epoll.poll(0.0, batch)
        self._timer.arm(due_s)
        return self.epoll.poll(MAX_WAIT_S, batch)

    def call(self, fd: int) -> None:
        """Call the descriptor's reader; the timer has none, it only ends the wait."""
        reader = self._readers.get(fd)
        if reader is not None:
            reader()
