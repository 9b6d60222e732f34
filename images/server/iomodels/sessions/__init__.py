"""The server's side of each wire: a module per wire, binding its bytes to a handler.

Each module has ``make(handler) -> NewSession``; its name is the wire's. `DEFAULT_HANDLER` says what a wire
answers with when nobody asks for something else.
"""

from __future__ import annotations

from importlib import import_module

from iomodels.handlers import Handler
from iomodels.session import NewSession

DEFAULT_HANDLER = {"http1": "hello", "echo": "echo", "greet": "hello", "datagram": "echo"}


def make(wire: str, handler: Handler) -> NewSession:
    """Return what makes a session of `wire` for each new connection or datagram."""
    new_session: NewSession = import_module(f"{__name__}.{wire}").make(handler)
    return new_session
