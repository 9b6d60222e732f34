"""The payload comes back."""

from __future__ import annotations

from iomodels.handlers import Handler
from iomodels.units import no_argument


class Echo:
    """Answers with the payload."""

    content_type = "application/octet-stream"
    wait_s = 0.0

    def answer(self, payload: bytes) -> bytes:
        """Return the payload."""
        return payload


def make(argument: str) -> Handler:
    """Return the handler; it takes no argument."""
    no_argument("echo", argument)
    return Echo()
