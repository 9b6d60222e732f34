"""The smallest answer: what is left of the time is the model's."""

from __future__ import annotations

from iomodels.handlers import HELLO, Handler
from iomodels.units import no_argument


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
    no_argument("hello", argument)
    return Hello()
