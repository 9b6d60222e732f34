"""A request that computes. No I/O model can help with that: an event loop stands still meanwhile."""

from __future__ import annotations

import time

from iomodels.handlers import HELLO, Handler
from iomodels.units import seconds


class Cpu:
    """Answers ``Hello, World!`` after burning CPU time of its thread.

    CPU time, not wall time: four threads that spin side by side until the clock has moved would all be done
    at once on one CPU. The thread's clock is a real system call (clock_gettime(2),
    CLOCK_THREAD_CPUTIME_ID), so it is asked sixteen times a request, not at every turn.
    """

    content_type = "text/plain"
    wait_s = 0.0

    def __init__(self, burn_s: float) -> None:
        self._burn_ns = round(burn_s * 1e9)
        self._turns = self._turns_in(self._burn_ns // 16)

    def answer(self, payload: bytes) -> bytes:
        """Burn, then return the greeting."""
        del payload
        end_ns = time.thread_time_ns() + self._burn_ns
        while time.thread_time_ns() < end_ns:
            _spin(self._turns)
        return HELLO

    @staticmethod
    def _turns_in(budget_ns: int) -> int:
        """Return about how many turns of `_spin` take that long: the best of five tries."""
        best_ns = min(_timed_spin(10_000) for _ in range(5))
        return max(1, budget_ns * 10_000 // max(1, best_ns))


def _timed_spin(turns: int) -> int:
    begin_ns = time.thread_time_ns()
    _spin(turns)
    return time.thread_time_ns() - begin_ns


def _spin(turns: int) -> None:
    for _ in range(turns):
        pass


def make(argument: str) -> Handler:
    """Return the handler that burns a duration such as ``200us``."""
    return Cpu(seconds(argument))
