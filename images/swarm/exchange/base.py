"""What the engine knows of a wire: an exchange and its readers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

PAYLOAD = b"What does each I/O model cost?"
KEEP, CLOSE = "keep", "close"


class Reader(Protocol):
    """Collects one answer, or the answers of one page."""

    @property
    def parts_received(self) -> Sequence[str]:
        """Names of the parts received so far; always empty for an answer without parts."""

    def feed(self, data: bytes) -> str | None:
        """Take bytes; return None while the answer is incomplete, then KEEP or CLOSE for the connection.

        Raises:
            ProtocolError: The bytes are not well-formed.
            WrongAnswerError: The answer is well-formed but not the expected one.
        """

    def eof(self) -> str | None:
        """Take the peer's end of stream; return CLOSE if it completes the answer, else None."""

    def next_request(self) -> bytes:
        """Return the request for the next part, or nothing."""


class Exchange(Protocol):
    """A wire and a handler, seen from the client."""

    transport: str
    server_speaks_first: bool  # the connect is the request
    connection_per_request: bool
    server_closes: bool  # with a connection per request: the server closes first, not the client
    constant_answer: bool  # the expected answer is the same for every request
    final_bytes: bytes  # sent after the answer
    request: bytes  # empty if each request differs: see `numbered_request`

    def numbered_request(self) -> tuple[bytes, Reader]:
        """Return a request with its own number, and the reader of its answer."""

    def reader(self) -> Reader:
        """Return a reader for the next answer."""


class BaseExchange:
    """The common case of most wires."""

    transport = "tcp"
    server_speaks_first = connection_per_request = server_closes = False
    constant_answer = True
    final_bytes = b""
    request = b""

    def numbered_request(self) -> tuple[bytes, Reader]:
        """Raise NotImplementedError: requests of this wire have no number."""
        raise NotImplementedError("requests of this wire have no number")


class SinglePart:
    """Base of readers of an answer without parts."""

    __slots__ = ()

    parts_received: Sequence[str] = ()

    def next_request(self) -> bytes:
        """Return nothing: there is one request."""
        return b""
