"""The JSON answer of web benchmarks, serialised for every request, as their rules require."""

from __future__ import annotations

from json import dumps

from iomodels.handlers import Handler
from iomodels.units import require_no_argument


class Json:
    """Answers a small JSON object to everything."""

    content_type = "application/json"
    wait_s = 0.0

    def answer(self, payload: bytes) -> bytes:
        """Return the object as JSON."""
        del payload
        return dumps({"message": "Hello, World!"}, separators=(",", ":")).encode()


def make(argument: str) -> Handler:
    """Return the handler; it takes no argument."""
    require_no_argument("json", argument)
    return Json()
