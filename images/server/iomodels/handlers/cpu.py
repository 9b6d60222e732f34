"""A request that computes. No I/O model can overlap that: an event loop stands still meanwhile."""

from __future__ import annotations

import time

from iomodels.handlers import HELLO, Handler
from iomodels.units import seconds


class Cpu:
    """Answers ``Hello, World!`` after burning CPU time of its thread.

    It is CPU time, not wall time: four threads that spin at the same time on one CPU until a wall clock has
    advanced would all finish together. Reading a thread's CPU clock (clock_gettime(2) with
    CLOCK_THREAD_CPUTIME_ID) is a real system call, so it is read about sixteen times a request.
    """

    content_type = "text/plain"
    wait_s = 0.0

    def __init__(self, burn_s: float) -> None:
        self._burn_ns = round(burn_s * 1e9)
        self._iterations = self._iterations_in(self._burn_ns // 16)

    def answer(self, payload: bytes) -> bytes:
        """Burn the CPU time, then return the greeting."""
        del payload
        end_ns = time.thread_time_ns() + self._burn_ns
        while time.thread_time_ns() < end_ns:
            _spin(self._iterations)
        return HELLO

    @staticmethod
    def _iterations_in(budget_ns: int) -> int:
        """Return about how many iterations of `_spin` take that long, by the fastest of five tries."""
        best_ns = min(_timed_spin(10_000) for _ in range(5))
        return max(1, budget_ns * 10_000 // max(1, best_ns))


def _timed_spin(iterations: int) -> int:
    begin_ns = time.thread_time_ns()
    _spin(iterations)
    return time.thread_time_ns() - begin_ns


def _spin(iterations: int) -> None:
    for _ in range(iterations):
        pass


def make(argument: str) -> Handler:
    """Return the handler that burns a duration such as ``200us``."""
    return Cpu(seconds(argument))
