"""The greet wire: the server speaks first.

On connect the server says ``connection server``; the client reads it, answers ``hello server`` and closes.
Neither message has a length or an end mark: the client knows its greeting by heart, the server's message ends
where the client's stream ends. The server keeps what it heard and says it, with the peer's address, in its
log.
"""

from __future__ import annotations

from wire._errors import ProtocolError

TRANSPORT = "tcp"
SERVER_SPEAKS_FIRST = True

GREETING = b"connection server"
REPLY = b"hello server"
MAX_MESSAGE_BYTES = 1024

__all__ = [
    "GREETING",
    "MAX_MESSAGE_BYTES",
    "REPLY",
    "SERVER_SPEAKS_FIRST",
    "TRANSPORT",
    "Greeted",
    "Heard",
    "ProtocolError",
]


class Greeted:
    """The client's side: collects the greeting."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen = b""

    def feed(self, data: bytes) -> bytes | None:
        """Take bytes as they come; return what to send back once the greeting is whole, else None.

        Raises:
            ProtocolError: the server says something else.
        """
        self._seen += data
        if not GREETING.startswith(self._seen):
            raise ProtocolError(f"expected the greeting {GREETING!r}, got {self._seen[:64]!r}")
        return REPLY if self._seen == GREETING else None

    def eof(self) -> None:
        """Take the end of the server's stream.

        Raises:
            ProtocolError: the greeting was not whole.
        """
        if self._seen != GREETING:
            raise ProtocolError(f"the server ended after {self._seen!r}")


class Heard:
    """The server's side: collects the client's message until the client closes."""

    __slots__ = ("message",)

    def __init__(self) -> None:
        self.message = b""

    def feed(self, data: bytes) -> None:
        """Take bytes as they come.

        Raises:
            ProtocolError: the message is longer than `MAX_MESSAGE_BYTES`.
        """
        self.message += data
        if len(self.message) > MAX_MESSAGE_BYTES:
            raise ProtocolError(f"message longer than {MAX_MESSAGE_BYTES} bytes")
