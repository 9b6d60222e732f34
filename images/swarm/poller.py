"""Waiting for descriptors and for a point in time, with microsecond resolution.

`epoll_wait(2)` takes whole milliseconds and Python rounds up; its timeout is also subject to the thread's
timer slack (50 us, prctl(2), PR_SET_TIMERSLACK). A `timerfd_create(2)` descriptor has neither limit. It is
armed with an absolute CLOCK_MONOTONIC time and registered edge-triggered: timerfd_settime(2) resets its
expirations, so it is never read. Python has timerfd from 3.13 on; until then it takes two C calls.
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
MAX_WAIT_S = 1.0  # bounds every wait, whatever the timer does

_libc = ctypes.CDLL(None, use_errno=True)


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("it_interval", _Timespec), ("it_value", _Timespec))


class Timer:
    """One absolute timer on a file descriptor."""

    def __init__(self) -> None:
        self.fd = _libc.timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._spec = _Itimerspec()
        self._value = self._spec.it_value
        self._arguments = (self.fd, TFD_TIMER_ABSTIME, ctypes.byref(self._spec), None)
        self._armed_s = 0.0

    def arm(self, at_s: float) -> None:
        """Make the descriptor readable when `time.monotonic()` reaches `at_s`; at once if it has."""
        if at_s == self._armed_s:
            return
        whole = int(at_s)
        self._value.tv_sec, self._value.tv_nsec = whole, int((at_s - whole) * 1e9)
        if _libc.timerfd_settime(*self._arguments) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")
        self._armed_s = at_s


class Poller:
    """An epoll set with a precise timeout, and callbacks for descriptors that are not connections."""

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self._timer = Timer()
        self.epoll.register(self._timer.fd, select.EPOLLIN | select.EPOLLET)
        self._callbacks: dict[int, Callable[[], None]] = {}

    def register(self, fd: int, callback: Callable[[], None]) -> None:
        """Have `dispatch` call `callback` when the descriptor is readable."""
        self._callbacks[fd] = callback
        self.epoll.register(fd, select.EPOLLIN)

    def wait(self, due_s: float, max_events: int) -> list[tuple[int, int]]:
        """Return up to `max_events` pairs (descriptor, events), at the latest at `due_s` (monotonic)."""
        if due_s <= monotonic():
            return self.epoll.poll(0.0, max_events)
        self._timer.arm(due_s)
        return self.epoll.poll(MAX_WAIT_S, max_events)

    def dispatch(self, fd: int) -> None:
        """Call the descriptor's callback; the timer has none, it only ends the wait."""
        callback = self._callbacks.get(fd)
        if callback is not None:
            callback()
