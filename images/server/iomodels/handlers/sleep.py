"""A request that waits for something else, such as a database, and needs no CPU meanwhile."""

from __future__ import annotations

from iomodels.handlers import HELLO, Handler
from iomodels.units import seconds


class Sleep:
    """Answers ``Hello, World!`` after a wait: the model's thread sleeps, or its loop sets a timer."""

    content_type = "text/plain"

    def __init__(self, wait_s: float) -> None:
        self.wait_s = wait_s

    def answer(self, payload: bytes) -> bytes:
        """Return the greeting; the model has already waited."""
        del payload
        return HELLO


def make(argument: str) -> Handler:
    """Return the handler that waits for a duration such as ``10ms``."""
    return Sleep(seconds(argument))
