"""One request and its answer on each wire, seen from the client: the bytes to send, the check of the answer.

All connections of an engine share one `Exchange`. It makes a `Reader` for each answer that has to be
parsed; an answer with the same bytes as the last correct one is not parsed (see `engine`). One file per
wire, and `page` for several requests that make up one.
"""

from __future__ import annotations

from wire.http1 import ProtocolError

from swarm.errors import SettingsError

from .base import CLOSE, KEEP, PAYLOAD, Exchange, Reader
from .datagram import Datagram
from .echo import Echo
from .greet import Greet
from .http1 import Http1

__all__ = ["CLOSE", "KEEP", "PAYLOAD", "Exchange", "ProtocolError", "Reader", "for_wire"]


def for_wire(wire: str, handler: str, host: str, *, connection_per_request: bool = False) -> Exchange:
    """Return the exchange of a wire and a handler.

    Raises:
        SettingsError: There is none.
    """
    if wire == "http1":
        return Http1(handler, host, connection_per_request=connection_per_request)
    if wire == "echo":
        return Echo(handler, connection_per_request=connection_per_request)
    if wire == "greet":
        return Greet()
    if wire == "datagram" and not connection_per_request:
        return Datagram(handler)
    how = " with a connection per request" if connection_per_request else ""
    raise SettingsError(f"no exchange for the wire {wire!r}{how}")
