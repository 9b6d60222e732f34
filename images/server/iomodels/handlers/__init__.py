"""What a request does: one module per handler with ``make(argument) -> Handler``; its name is the handler's.

A handler is selected by ``name`` or ``name:argument``: ``hello``, ``json``, ``echo``, ``sleep:10ms``,
``cpu:200us``, ``file:64KiB``. `hello`, `sleep` and `cpu` return the same answer, so only the work differs.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Protocol

from iomodels.session import SendFile

HELLO = b"Hello, World!"
JSON = b'{"message":"Hello, World!"}'

NAMES: tuple[str, ...] = tuple(sorted(m.name for m in iter_modules(__path__)))


class Handler(Protocol):
    """Answers payloads.

    Attributes:
        content_type: media type of the answers.
        wait_s: how long a request waits, without work, before it is answered.
    """

    content_type: str
    wait_s: float

    def answer(self, payload: bytes) -> bytes | SendFile:
        """Return the answer. A handler that computes does so here and blocks its caller."""


def load(spec: str) -> Handler:
    """Return the handler that `spec` selects.

    Raises:
        ValueError: an unknown name; or a missing, unexpected or malformed argument.
    """
    name, _, argument = spec.partition(":")
    if name not in NAMES:
        raise ValueError(f"unknown handler {name!r}; known: {', '.join(NAMES)}")
    handler: Handler = import_module(f"{__name__}.{name}").make(argument)
    return handler
