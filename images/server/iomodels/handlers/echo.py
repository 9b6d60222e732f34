"""The answer is the payload."""

from __future__ import annotations

from iomodels.handlers import Handler
from iomodels.units import require_no_argument


class Echo:
    """Answers with the payload of the request."""

    content_type = "application/octet-stream"
    wait_s = 0.0

    def answer(self, payload: bytes) -> bytes:
        """Return the payload."""
        return payload


def make(argument: str) -> Handler:
    """Return the handler; it takes no argument."""
    require_no_argument("echo", argument)
    return Echo()
