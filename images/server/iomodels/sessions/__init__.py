"""The server's side of each wire: one module per wire, which connects the protocol to a handler.

Each module has ``make(handler) -> SessionFactory``; its name is the wire's.
"""

from __future__ import annotations

from importlib import import_module

from iomodels.handlers import Handler
from iomodels.session import SessionFactory


def make(wire: str, handler: Handler) -> SessionFactory:
    """Return the function that makes a session of `wire` for each new connection or datagram."""
    new_session: SessionFactory = import_module(f"{__name__}.{wire}").make(handler)
    return new_session
