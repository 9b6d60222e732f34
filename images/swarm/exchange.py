"""One request and its answer on each wire, as a client sees them: the bytes to send and the judgement of
the answer.

An `Exchange` is shared by all connections of an engine. It makes a `Reader` for each answer that has to be
parsed; answers that repeat the bytes of the last right one need none (see `engine`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Protocol

from wire import datagram, echo, greet, http1
from wire.http1 import ProtocolError

from .answers import WrongAnswerError, check, right_answer
from .errors import SettingsError

PAYLOAD = b"What does each I/O model cost?"
KEEP, CLOSE = "keep", "close"

__all__ = ["CLOSE", "KEEP", "Exchange", "ProtocolError", "Reader", "for_wire"]


class Reader(Protocol):
    """Collects one answer, or the answers of one page."""

    @property
    def arrived(self) -> Sequence[str]:
        """Names of the parts that have come; empty where an answer has no parts."""

    def feed(self, data: bytes) -> str | None:
        """Take bytes; return None while more must come, then KEEP or CLOSE: may the connection be used again?

        Raises `ProtocolError` of the wires or `answers.WrongAnswerError`.
        """

    def eof(self) -> str | None:
        """Take the peer's end of stream; return CLOSE if it completes the answer, else None."""

    def next_request(self) -> bytes:
        """Return what is to be sent before more can come, or nothing."""


class Exchange(Protocol):
    """A wire and a handler, seen from the client."""

    transport: str
    speaks_first: bool  # the server does: the connect is the request
    once: bool  # one exchange per connection
    server_ends: bool  # it closes such a connection; else we do
    repeats: bool  # equal bytes are an equal answer
    farewell: bytes  # sent when the answer has come
    request: bytes  # the same for every request, or empty where `numbered` makes each its own

    def numbered(self) -> tuple[bytes, Reader]:
        """Return a request that carries a number and the reader of its answer."""

    def reader(self) -> Reader:
        """Return a reader for the next answer."""


def for_wire(wire: str, handler: str, host: str, *, once: bool = False) -> Exchange:
    """Return the exchange of a wire and a handler; raises `SettingsError` for what there is none of."""
    if wire == "http1":
        return Http1(handler, host, once=once)
    if wire == "echo":
        return Echo(handler, once=once)
    if wire == "greet":
        return Greet()
    if wire == "datagram" and not once:
        return Datagram(handler)
    raise SettingsError(
        f"no exchange for the wire {wire!r}{' with a connection per request' if once else ''}"
    )


class Base:
    """What most wires have in common."""

    transport = "tcp"
    speaks_first = once = server_ends = False
    repeats = True
    farewell = b""
    request = b""

    def numbered(self) -> tuple[bytes, Reader]:
        """Requests of most wires carry no number."""
        raise NotImplementedError("requests of this wire carry no number")


class Whole:
    """The reader of an answer without parts."""

    __slots__ = ()

    arrived: Sequence[str] = ()

    def next_request(self) -> bytes:
        """Nothing: the answer follows from the one request."""
        return b""


class Http1(Base):
    """GET / (POST where the handler returns what it is sent); RFC 9112.

    With `once` it asks the server to close after its answer, so that TIME_WAIT and its port stay with the
    server.
    """

    server_ends = True

    def __init__(self, handler: str, host: str, *, once: bool = False) -> None:
        posts = handler == "echo"
        body = PAYLOAD if posts else b""
        headers = (("Connection", "close"),) if once else ()
        self.once = once
        self.request = http1.request("POST" if posts else "GET", "/", host, body=body, headers=headers)
        self._expected = right_answer(handler, body)

    def reader(self) -> Reader:
        """Return a reader for the next answer."""
        return Http1Reader(self._expected)


class Http1Reader(Whole):
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
        return self._judge(responses[0])

    def eof(self) -> str | None:
        """Take the end of the stream, which ends a response without a length (RFC 9112 §6.3)."""
        try:
            responses = self._parser.eof()
        except ProtocolError:
            return None  # cut short
        if not responses:
            return None
        self._judge(responses[0])
        return CLOSE

    def _judge(self, response: http1.Response) -> str:
        if response.status != 200:
            raise WrongAnswerError(f"status {response.status} {response.reason}")
        check(response.body, self._expected)
        return KEEP if response.keep_alive else CLOSE


class Echo(Base):
    """One length-prefixed frame."""

    def __init__(self, handler: str, *, once: bool = False) -> None:
        self.once = once
        self.request = echo.encode(PAYLOAD)
        self._expected = right_answer(handler, PAYLOAD)

    def reader(self) -> Reader:
        """Return a reader for the next answer."""
        return EchoReader(self._expected)


class EchoReader(Whole):
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
        """An end of stream never completes a frame."""
        return None


class Greet(Base):
    """The server speaks first; the client answers and closes: each exchange is a connection."""

    speaks_first = once = True
    farewell = greet.REPLY

    def reader(self) -> Reader:
        """Return a reader for the greeting."""
        return GreetReader()


class GreetReader(Whole):
    """Collects the greeting."""

    __slots__ = ("_greeted",)

    def __init__(self) -> None:
        self._greeted = greet.GreetingReader()

    def feed(self, data: bytes) -> str | None:
        """Take bytes; see `Reader`."""
        return None if self._greeted.feed(data) is None else CLOSE

    def eof(self) -> str | None:
        """An end of stream never completes a greeting."""
        return None


class Datagram(Base):
    """One numbered datagram each way; late and repeated answers are recognised by their number."""

    transport = "udp"
    repeats = False

    def __init__(self, handler: str) -> None:
        self._expected = right_answer(handler, PAYLOAD)
        self._numbers = count(1)

    def numbered(self) -> tuple[bytes, Reader]:
        """Return a request that carries a number and the reader of its answer."""
        number = next(self._numbers)
        return datagram.encode(number, PAYLOAD), DatagramReader(number, self._expected)

    def reader(self) -> Reader:
        """Every answer has the reader that came with its request."""
        raise NotImplementedError("a datagram's reader comes with its request")


class DatagramReader(Whole):
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
        """Datagrams have no stream to end."""
        return None
