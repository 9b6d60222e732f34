"""The greet wire: the server speaks first.

After connect the server sends ``connection server``; the client reads it, sends ``hello server`` and closes.
No message has a length or a delimiter: the client compares with the known greeting, and the client's message
ends at its end of stream. The server logs the message with the peer's address.
"""

from __future__ import annotations

from wire._errors import ProtocolError

TRANSPORT = "tcp"
SERVER_SPEAKS_FIRST = True
DEFAULT_HANDLER = "hello"

GREETING = b"connection server"
REPLY = b"hello server"
MAX_MESSAGE_BYTES = 1024

__all__ = [
    "GREETING",
    "MAX_MESSAGE_BYTES",
    "REPLY",
    "SERVER_SPEAKS_FIRST",
    "TRANSPORT",
    "GreetingReader",
    "ProtocolError",
    "ReplyReader",
]


class GreetingReader:
    """The client's side: reads the greeting."""

    __slots__ = ("_received",)

    def __init__(self) -> None:
        self._received = b""

    def feed(self, data: bytes) -> bytes | None:
        """Take the next bytes; return the reply to send once the greeting is complete, else None.

        Raises:
            ProtocolError: The server sent something else.
        """
        self._received += data
        if not GREETING.startswith(self._received):
            raise ProtocolError(f"expected the greeting {GREETING!r}, got {self._received[:64]!r}")
        return REPLY if self._received == GREETING else None

    def eof(self) -> None:
        """Take the end of the server's stream.

        Raises:
            ProtocolError: The greeting is incomplete.
        """
        if self._received != GREETING:
            raise ProtocolError(f"the server closed after {self._received!r}")


class ReplyReader:
    """The server's side: reads the client's message until the client closes."""

    __slots__ = ("message",)

    def __init__(self) -> None:
        self.message = b""

    def feed(self, data: bytes) -> None:
        """Append the next bytes to `message`.

        Raises:
            ProtocolError: The message is longer than `MAX_MESSAGE_BYTES`.
        """
        self.message += data
        if len(self.message) > MAX_MESSAGE_BYTES:
            raise ProtocolError(f"message longer than {MAX_MESSAGE_BYTES} bytes")
