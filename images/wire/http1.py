"""The http1 wire: HTTP/1.1 (RFC 9110, RFC 9112), requests and responses, for both ends.

Laws:

* What `feed` returns depends on the bytes alone, never on how they were cut.
* Messages come out in the order they went in; those before a fault are in the error's `parsed`.
* After a fault, or a message that ends the connection, a parser swallows everything.

The fast path rests on the first law: bytes that once were exactly one whole message, met again by a parser
that is between messages, are that message. A load generator sends the same request for ever, so this is the
usual case.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import NamedTuple, TypeVar

from wire._errors import ProtocolError
from wire._http_body import Body, Chunked, Sized, UntilClose
from wire._http_head import (
    Fields,
    RequestHead,
    ResponseHead,
    cut_head,
    framing,
    members,
    parse_request_head,
    parse_response_head,
    stays_open,
)

TRANSPORT = "tcp"
SERVER_SPEAKS_FIRST = False

MAX_BODY_BYTES = 1 << 20
SERVER_NAME = "io-model-lab"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_K = TypeVar("_K")
_V = TypeVar("_V")
_REMEMBERED_BYTES = 512  # longer messages are not worth a hash
_REMEMBERED = 256

__all__ = [
    "CONTINUE", "MAX_BODY_BYTES", "SERVER_NAME", "SERVER_SPEAKS_FIRST", "TRANSPORT",
    "ProtocolError", "Request", "RequestParser", "Response", "ResponseParser",
    "request", "response", "response_head",
]  # fmt: skip


class Request(NamedTuple):
    """A whole request. `headers` are (lower-case name, value) pairs in order; `minor` is that of HTTP/1.x."""

    method: str
    target: str
    headers: Fields
    body: bytes
    keep_alive: bool
    minor: int
    expect_continue: bool


class Response(NamedTuple):
    """A whole response; the interim ones (1xx) are swallowed."""

    status: int
    reason: str
    headers: Fields
    body: bytes
    keep_alive: bool


_requests: dict[bytes, tuple[Request]] = {}
_responses: dict[bytes, tuple[Response]] = {}


class RequestParser:
    """The server's side: bytes to requests.

    Attributes:
        wants_continue: a request asked for leave to send its body and waits; answer `CONTINUE` (or a final
        status)
            and set it back to False.
    """

    __slots__ = ("_body", "_buffer", "_head", "_max_body", "_over", "_scanned", "wants_continue")

    def __init__(self, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self._max_body = max_body_bytes
        self._buffer: bytearray | None = None  # None between messages: an idle connection stays small
        self._scanned = 0
        self._head: RequestHead | None = None
        self._body: Body | None = None
        self._over = False
        self.wants_continue = False

    @property
    def midway(self) -> bool:
        """Whether a request has begun and not ended."""
        return self._buffer is not None and not self._over

    def feed(self, data: bytes) -> Sequence[Request]:
        """Take bytes as they come and return the requests that are whole, in order.

        Raises:
            ProtocolError: `status` says how to answer (400, 413, 414, 417, 431, 501, 505) before closing.
        """
        fresh = self._buffer is None and len(data) <= _REMEMBERED_BYTES
        if fresh and (known := _requests.get(data)) is not None:
            return known
        found = self._parse(data)
        if fresh and len(found) == 1 and not self.midway and found[0].keep_alive:
            _remember(_requests, data, (found[0],))
        return found

    def _parse(self, data: bytes) -> list[Request]:
        buffer = self._buffer = bytearray() if self._buffer is None else self._buffer
        buffer += data
        found: list[Request] = []
        try:
            while (one := self._next(buffer)) is not None:
                found.append(one)
        except ProtocolError as fault:
            self._over = True
            fault.parsed = found
            raise
        if not buffer and self._head is None and not self._over:
            self._buffer = None
        return found

    def _next(self, buffer: bytearray) -> Request | None:
        if self._over:
            buffer.clear()
            return None
        if self._head is None and not self._begin(buffer):
            return None
        head, body = self._head, self._body
        if head is None or (body is not None and not body.feed(buffer)):
            return None
        self._head = self._body = None
        self.wants_continue = False
        keep_alive = stays_open(head.minor, head.headers)
        self._over = not keep_alive
        content = b"" if body is None else bytes(body.content)
        expects = "100-continue" in members(head.headers, "expect")
        return Request(head.method, head.target, head.headers, content, keep_alive, head.minor, expects)

    def _begin(self, buffer: bytearray) -> bool:
        """Parse a head, if it is there, and get ready for its body."""
        while buffer.startswith(b"\r\n"):  # empty lines ahead of a request are ignored (RFC 9112 §2.2)
            del buffer[:2]
            self._scanned = 0
        text, self._scanned = cut_head(buffer, self._scanned)
        if text is None:
            return False
        head = parse_request_head(text)
        size = framing(head.minor, head.headers)
        if size.length is not None and size.length > self._max_body:
            raise ProtocolError(f"body of {size.length} bytes; at most {self._max_body}", 413)
        expectations = members(head.headers, "expect")
        if expectations not in ([], ["100-continue"]):
            raise ProtocolError(f"cannot meet the expectation {expectations!r}", 417)
        self._head = head
        self._body = Chunked(self._max_body) if size.chunked else Sized(size.length) if size.length else None
        self.wants_continue = bool(expectations and head.minor and self._body is not None and not buffer)
        return True


class ResponseParser:
    """The client's side: bytes to responses.

    Tell it each request's method with `sent` if any is not GET: an answer to HEAD has no body whatever it
    says.
    """

    __slots__ = ("_body", "_buffer", "_head", "_max_body", "_methods", "_over", "_scanned")

    def __init__(self, max_body_bytes: int = 64 << 20) -> None:
        self._max_body = max_body_bytes
        self._buffer: bytearray | None = None
        self._scanned = 0
        self._head: ResponseHead | None = None
        self._body: Body | None = None
        self._methods: deque[str] | None = None
        self._over = False

    @property
    def midway(self) -> bool:
        """Whether a response has begun and not ended."""
        return self._buffer is not None and not self._over

    def sent(self, method: str) -> None:
        """Note that a request with this method is on its way. Requests that are not noted count as GET."""
        if self._methods is None:
            self._methods = deque()
        self._methods.append(method)

    def feed(self, data: bytes) -> Sequence[Response]:
        """Take bytes as they come and return the responses that are whole, in order.

        Raises:
            ProtocolError: the server broke the rules.
        """
        fresh = self._buffer is None and not self._methods and len(data) <= _REMEMBERED_BYTES
        if fresh and (known := _responses.get(data)) is not None:
            return known
        found = self._parse(data)
        if fresh and len(found) == 1 and not self.midway and found[0].keep_alive:
            _remember(_responses, data, (found[0],))
        return found

    def eof(self) -> Sequence[Response]:
        """Take the end of the stream; return the response that it completes, if it does.

        Raises:
            ProtocolError: the stream ended inside a response.
        """
        head, body = self._head, self._body
        midway, self._over = self.midway, True
        if head is not None and isinstance(body, UntilClose):
            self._head = None
            return [Response(head.status, head.reason, head.headers, bytes(body.content), False)]
        if midway:
            raise ProtocolError("the server closed inside a response")
        return []

    def _parse(self, data: bytes) -> list[Response]:
        buffer = self._buffer = bytearray() if self._buffer is None else self._buffer
        buffer += data
        found: list[Response] = []
        try:
            while (one := self._next(buffer)) is not None:
                found.append(one)
        except ProtocolError as fault:
            self._over = True
            fault.parsed, fault.status = found, 0
            raise
        if not buffer and self._head is None and not self._over:
            self._buffer = None
        return found

    def _next(self, buffer: bytearray) -> Response | None:
        if self._over:
            buffer.clear()
            return None
        while self._head is None:
            text, self._scanned = cut_head(buffer, self._scanned)
            if text is None:
                return None
            self._begin(parse_response_head(text))
        head, body = self._head, self._body
        if body is not None and not body.feed(buffer):
            return None
        self._head = self._body = None
        keep_alive = stays_open(head.minor, head.headers)
        self._over = not keep_alive
        content = b"" if body is None else bytes(body.content)
        return Response(head.status, head.reason, head.headers, content, keep_alive)

    def _begin(self, head: ResponseHead) -> None:
        """Get ready for the body (RFC 9112 §6.3); interim responses are dropped here."""
        if 100 <= head.status < 200:
            return
        method = self._methods.popleft() if self._methods else "GET"
        self._head = head
        if method == "HEAD" or head.status in (204, 304):
            return
        size = framing(head.minor, head.headers)
        if size.length is not None and size.length > self._max_body:
            raise ProtocolError(f"body of {size.length} bytes; at most {self._max_body}")
        if size.chunked:
            self._body = Chunked(self._max_body)
        elif size.length is None:
            self._body = UntilClose(self._max_body)
        elif size.length:
            self._body = Sized(size.length)


def request(
    method: str, target: str, host: str, *, body: bytes = b"", headers: Sequence[tuple[str, str]] = ()
) -> bytes:
    """Return a request; a Content-Length goes with every body and with POST, PUT and PATCH."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in headers)]
    if body or method in ("POST", "PUT", "PATCH"):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def response(
    status: int,
    body: bytes,
    content_type: str = "text/plain",
    *,
    keep_alive: bool = True,
    head_only: bool = False,
    minor: int = 1,
    headers: Sequence[tuple[str, str]] = (),
) -> bytes:
    """Return a response with Server, Date, Content-Type and Content-Length.

    `head_only` answers a HEAD: all fields, no body. `minor` is the request's: HTTP/1.0 is told of keep-alive.
    """
    head = response_head(status, len(body), content_type, keep_alive=keep_alive, minor=minor, headers=headers)
    return head if head_only else head + body


_heads: dict[tuple[object, ...], bytes] = {}
_heads_second = 0


def response_head(
    status: int,
    length: int,
    content_type: str = "text/plain",
    *,
    keep_alive: bool = True,
    minor: int = 1,
    headers: Sequence[tuple[str, str]] = (),
) -> bytes:
    """Return the head of a response whose body of `length` bytes is sent by other means.

    Date has whole seconds (RFC 9110 §5.6.7), so heads are kept for the rest of theirs.
    """
    global _heads_second
    second = int(time.time())
    if second != _heads_second:
        _heads.clear()
        _heads_second = second
    key = (status, length, content_type, keep_alive, minor, headers)
    head = _heads.get(key)
    if head is None:
        head = _make_head(status, length, content_type, keep_alive, minor, headers, second)
        _remember(_heads, key, head)
    return head


def _make_head(
    status: int,
    length: int,
    content_type: str,
    keep_alive: bool,
    minor: int,
    headers: Sequence[tuple[str, str]],
    second: int,
) -> bytes:
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        f"Server: {SERVER_NAME}",
        f"Date: {formatdate(second, usegmt=True)}",
        f"Content-Type: {content_type}",
        f"Content-Length: {length}",
        *(f"{name}: {value}" for name, value in headers),
    ]
    if not keep_alive:
        lines.append("Connection: close")
    elif minor == 0:
        lines.append("Connection: keep-alive")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _remember(table: dict[_K, _V], key: _K, value: _V) -> None:
    """Keep a result; a full table starts again, so that odd messages cannot fill the memory."""
    if len(table) >= _REMEMBERED:
        table.clear()
    table[key] = value
