"""The smallest answer: almost all of the time is the model's."""

from __future__ import annotations

from iomodels.handlers import HELLO, Handler
from iomodels.units import require_no_argument


class Hello:
    """Answers ``Hello, World!`` to everything."""

    content_type = "text/plain"
    wait_s = 0.0

    def answer(self, payload: bytes) -> bytes:
        """Return the greeting."""
        del payload
        return HELLO


def make(argument: str) -> Handler:
    """Return the handler; it takes no argument."""
    require_no_argument("hello", argument)
    return Hello()
