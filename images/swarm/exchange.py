"""One request and its answer on each wire, seen from the client: the bytes to send, the check of the answer.

All connections of an engine share one `Exchange`. It makes a `Reader` for each answer that has to be
parsed; an answer with the same bytes as the last correct one is not parsed (see `engine`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Protocol

from wire import datagram, echo, greet, http1
from wire.http1 import ProtocolError

from .answers import WrongAnswerError, check, expected_answer
from .errors import SettingsError

PAYLOAD = b"What does each I/O model cost?"
KEEP, CLOSE = "keep", "close"

__all__ = ["CLOSE", "KEEP", "Exchange", "ProtocolError", "Reader", "for_wire"]


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


class Http1(BaseExchange):
    """GET / (POST for the handler `echo`); RFC 9112.

    With a connection per request it asks the server to close after its answer, so that the server has the
    TIME_WAIT and the client's port is free at once.
    """

    server_closes = True

    def __init__(self, handler: str, host: str, *, connection_per_request: bool = False) -> None:
        echoes = handler == "echo"
        body = PAYLOAD if echoes else b""
        headers = (("Connection", "close"),) if connection_per_request else ()
        self.connection_per_request = connection_per_request
        self.request = http1.request("POST" if echoes else "GET", "/", host, body=body, headers=headers)
        self._expected = expected_answer(handler, body)

    def reader(self) -> Reader:
        """Return a reader for the next answer."""
        return Http1Reader(self._expected)


class Http1Reader(SinglePart):
    """Collects one response."""

    __slots__ = ("_expected", "_parser")

    def __init__(self, expected: bytes | None) -> None:
        self._parser = http1.ResponseParser()
        self._expected = expected

    def feed(self, data: bytes) -> str | None:
        """Take bytes; see `Reader`."""
        responses = self._parser.feed(data)
        if not responses:
            return None
        if len(responses) > 1 or self._parser.incomplete:
            raise ProtocolError("more than one response to one request")
        return self._check(responses[0])

    def eof(self) -> str | None:
        """Take the end of stream, which ends a response without a length (RFC 9112 §6.3)."""
        try:
            responses = self._parser.eof()
        except ProtocolError:
            return None  # incomplete
        if not responses:
            return None
        self._check(responses[0])
        return CLOSE

    def _check(self, response: http1.Response) -> str:
        if response.status != 200:
            raise WrongAnswerError(f"status {response.status} {response.reason}")
        check(response.body, self._expected)
        return KEEP if response.keep_alive else CLOSE


class Echo(BaseExchange):
    """One length-prefixed frame."""

    def __init__(self, handler: str, *, connection_per_request: bool = False) -> None:
        self.connection_per_request = connection_per_request
        self.request = echo.encode(PAYLOAD)
        self._expected = expected_answer(handler, PAYLOAD)

    def reader(self) -> Reader:
        """Return a reader for the next answer."""
        return EchoReader(self._expected)


class EchoReader(SinglePart):
    """Collects one frame."""

    __slots__ = ("_expected", "_parser")

    def __init__(self, expected: bytes | None) -> None:
        self._parser = echo.FrameParser()
        self._expected = expected

    def feed(self, data: bytes) -> str | None:
        """Take bytes; see `Reader`."""
        frames = self._parser.feed(data)
        if not frames:
            return None
        if len(frames) > 1 or self._parser.incomplete:
            raise ProtocolError("more than one frame for one request")
        check(frames[0], self._expected)
        return KEEP

    def eof(self) -> str | None:
        """Return None: an end of stream never completes a frame."""
        return None


class Greet(BaseExchange):
    """The server speaks first, the client replies and closes: one exchange per connection."""

    server_speaks_first = connection_per_request = True
    final_bytes = greet.REPLY

    def reader(self) -> Reader:
        """Return a reader for the greeting."""
        return GreetReader()


class GreetReader(SinglePart):
    """Collects the greeting."""

    __slots__ = ("_greeted",)

    def __init__(self) -> None:
        self._greeted = greet.GreetingReader()

    def feed(self, data: bytes) -> str | None:
        """Take bytes; see `Reader`."""
        return None if self._greeted.feed(data) is None else CLOSE

    def eof(self) -> str | None:
        """Return None: an end of stream never completes a greeting."""
        return None


class Datagram(BaseExchange):
    """One numbered datagram each way; the number tells late and repeated answers."""

    transport = "udp"
    constant_answer = False

    def __init__(self, handler: str) -> None:
        self._expected = expected_answer(handler, PAYLOAD)
        self._numbers = count(1)

    def numbered_request(self) -> tuple[bytes, Reader]:
        """Return a request with its own number, and the reader of its answer."""
        number = next(self._numbers)
        return datagram.encode(number, PAYLOAD), DatagramReader(number, self._expected)

    def reader(self) -> Reader:
        """Raise NotImplementedError: `numbered_request` returns the reader."""
        raise NotImplementedError("a datagram's reader comes with its request")


class DatagramReader(SinglePart):
    """Waits for the answer with its number."""

    __slots__ = ("_expected", "_number")

    def __init__(self, number: int, expected: bytes | None) -> None:
        self._number, self._expected = number, expected

    def feed(self, data: bytes) -> str | None:
        """Take one datagram; None if it answers another request."""
        answer = datagram.decode(data)
        if answer.id != self._number:
            return None
        check(answer.payload, self._expected)
        return KEEP

    def eof(self) -> str | None:
        """Return None: datagrams have no end of stream."""
        return None
