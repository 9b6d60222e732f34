"""The http1 wire: requests and responses of HTTP/1.1 (RFC 9110, RFC 9112), for client and server.

Invariants:

* The result of `feed` depends on the bytes only, not on how they were split into reads.
* Messages are returned in order; those before an error are in the error's `parsed`.
* After an error, or after a message that ends the connection, a parser discards all input.

The first invariant allows a fast path. A parser between messages looks its input up in a cache of inputs that
were exactly one complete message each. A load generator repeats one request, so this is the common case.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from wire._cache import store
from wire._errors import ProtocolError
from wire._http_body import Body, ChunkedBody, FixedLengthBody, UntilCloseBody
from wire._http_encode import SERVER_NAME, request, response, response_head
from wire._http_head import (
    Fields,
    RequestHead,
    ResponseHead,
    body_framing,
    is_persistent,
    list_members,
    parse_request_head,
    parse_response_head,
    take_head,
)

TRANSPORT = "tcp"
SERVER_SPEAKS_FIRST = False
DEFAULT_HANDLER = "hello"

MAX_BODY_BYTES = 1 << 20
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_CACHED_MESSAGE_MAX_BYTES = 512  # hashing a longer message costs more than the cache saves

__all__ = [
    "CONTINUE", "MAX_BODY_BYTES", "SERVER_NAME", "SERVER_SPEAKS_FIRST", "TRANSPORT",
    "ProtocolError", "Request", "RequestParser", "Response", "ResponseParser",
    "request", "response", "response_head",
]  # fmt: skip


class Request(NamedTuple):
    """A complete request.

    `headers` are (lower-case name, value) pairs in order; `minor` is the minor version of HTTP/1.x.
    """

    method: str
    target: str
    headers: Fields
    body: bytes
    keep_alive: bool
    minor: int
    expect_continue: bool


class Response(NamedTuple):
    """A complete final response; the parser discards interim responses (1xx)."""

    status: int
    reason: str
    headers: Fields
    body: bytes
    keep_alive: bool


_request_cache: dict[bytes, tuple[Request]] = {}
_response_cache: dict[bytes, tuple[Response]] = {}


class RequestParser:
    """The server's side: parses requests.

    Attributes:
        wants_continue: The client waits for ``100 Continue`` before it sends the body (RFC 9110 §10.1.1).
            Send `CONTINUE` or a final status, then set this to False.
    """

    __slots__ = ("_body", "_buffer", "_finished", "_head", "_max_body", "_scanned", "wants_continue")

    def __init__(self, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self._max_body = max_body_bytes
        self._buffer: bytearray | None = None  # None between messages: an idle connection keeps no buffer
        self._scanned = 0
        self._head: RequestHead | None = None
        self._body: Body | None = None
        self._finished = False
        self.wants_continue = False

    @property
    def incomplete(self) -> bool:
        """Whether part of a request has arrived."""
        return self._buffer is not None and not self._finished

    def feed(self, data: bytes) -> Sequence[Request]:
        """Parse the next bytes of the stream; return the requests that they complete, in order.

        Raises:
            ProtocolError: Answer with its `status` (400, 413, 414, 417, 431, 501, 505), then close.
        """
        cacheable = self._buffer is None and len(data) <= _CACHED_MESSAGE_MAX_BYTES
        if cacheable and (cached := _request_cache.get(data)) is not None:
            return cached
        requests = self._parse(data)
        if cacheable and len(requests) == 1 and not self.incomplete and requests[0].keep_alive:
            store(_request_cache, data, (requests[0],))
        return requests

    def _parse(self, data: bytes) -> list[Request]:
        buffer = self._buffer = bytearray() if self._buffer is None else self._buffer
        buffer += data
        requests: list[Request] = []
        try:
            while (message := self._next(buffer)) is not None:
                requests.append(message)
        except ProtocolError as error:
            self._finished = True
            error.parsed = requests
            raise
        if not buffer and self._head is None and not self._finished:
            self._buffer = None
        return requests

    def _next(self, buffer: bytearray) -> Request | None:
        if self._finished:
            buffer.clear()
            return None
        if self._head is None and not self._begin(buffer):
            return None
        head, body = self._head, self._body
        if head is None or (body is not None and not body.feed(buffer)):
            return None
        self._head = self._body = None
        self.wants_continue = False
        keep_alive = is_persistent(head.minor, head.headers)
        self._finished = not keep_alive
        content = b"" if body is None else bytes(body.content)
        expects = "100-continue" in list_members(head.headers, "expect")
        return Request(head.method, head.target, head.headers, content, keep_alive, head.minor, expects)

    def _begin(self, buffer: bytearray) -> bool:
        """Parse a head if it is complete, and set the decoder of its body."""
        while buffer.startswith(b"\r\n"):  # empty lines before a request are ignored (RFC 9112 §2.2)
            del buffer[:2]
            self._scanned = 0
        text, self._scanned = take_head(buffer, self._scanned)
        if text is None:
            return False
        head = parse_request_head(text)
        framing = body_framing(head.minor, head.headers)
        if framing.length is not None and framing.length > self._max_body:
            raise ProtocolError(f"body of {framing.length} bytes; at most {self._max_body}", 413)
        expectations = list_members(head.headers, "expect")
        if expectations not in ([], ["100-continue"]):
            raise ProtocolError(f"unsupported expectation {expectations!r}", 417)
        self._head = head
        if framing.chunked:
            self._body = ChunkedBody(self._max_body)
        elif framing.length:
            self._body = FixedLengthBody(framing.length)
        self.wants_continue = bool(expectations and head.minor and self._body is not None and not buffer)
        return True


class ResponseParser:
    """The client's side: parses responses.

    Call `request_sent` for each request if any method is not GET: a response to HEAD has no body, whatever
    its Content-Length (RFC 9112 §6.3).
    """

    __slots__ = ("_body", "_buffer", "_finished", "_head", "_max_body", "_methods", "_scanned")

    def __init__(self, max_body_bytes: int = 64 << 20) -> None:
        self._max_body = max_body_bytes
        self._buffer: bytearray | None = None
        self._scanned = 0
        self._head: ResponseHead | None = None
        self._body: Body | None = None
        self._methods: deque[str] | None = None
        self._finished = False

    @property
    def incomplete(self) -> bool:
        """Whether part of a response has arrived."""
        return self._buffer is not None and not self._finished

    def request_sent(self, method: str) -> None:
        """Record the method of a request that was sent; without a record it counts as GET."""
        if self._methods is None:
            self._methods = deque()
        self._methods.append(method)

    def feed(self, data: bytes) -> Sequence[Response]:
        """Parse the next bytes of the stream; return the responses that they complete, in order.

        Raises:
            ProtocolError: The server violated the protocol.
        """
        cacheable = self._buffer is None and not self._methods and len(data) <= _CACHED_MESSAGE_MAX_BYTES
        if cacheable and (cached := _response_cache.get(data)) is not None:
            return cached
        responses = self._parse(data)
        if cacheable and len(responses) == 1 and not self.incomplete and responses[0].keep_alive:
            store(_response_cache, data, (responses[0],))
        return responses

    def eof(self) -> Sequence[Response]:
        """Take the end of the stream; return the response that it completes, if any.

        Raises:
            ProtocolError: The stream ended inside a response.
        """
        head, body = self._head, self._body
        incomplete, self._finished = self.incomplete, True
        if head is not None and isinstance(body, UntilCloseBody):
            self._head = None
            return [Response(head.status, head.reason, head.headers, bytes(body.content), False)]
        if incomplete:
            raise ProtocolError("the server closed inside a response")
        return []

    def _parse(self, data: bytes) -> list[Response]:
        buffer = self._buffer = bytearray() if self._buffer is None else self._buffer
        buffer += data
        responses: list[Response] = []
        try:
            while (message := self._next(buffer)) is not None:
                responses.append(message)
        except ProtocolError as error:
            self._finished = True
            error.parsed, error.status = responses, 0
            raise
        if not buffer and self._head is None and not self._finished:
            self._buffer = None
        return responses

    def _next(self, buffer: bytearray) -> Response | None:
        if self._finished:
            buffer.clear()
            return None
        while self._head is None:
            text, self._scanned = take_head(buffer, self._scanned)
            if text is None:
                return None
            self._begin(parse_response_head(text))
        head, body = self._head, self._body
        if body is not None and not body.feed(buffer):
            return None
        self._head = self._body = None
        keep_alive = is_persistent(head.minor, head.headers)
        self._finished = not keep_alive
        content = b"" if body is None else bytes(body.content)
        return Response(head.status, head.reason, head.headers, content, keep_alive)

    def _begin(self, head: ResponseHead) -> None:
        """Set the decoder of the body (RFC 9112 §6.3); discard an interim response."""
        if 100 <= head.status < 200:
            return
        method = self._methods.popleft() if self._methods else "GET"
        self._head = head
        if method == "HEAD" or head.status in (204, 304):
            return
        framing = body_framing(head.minor, head.headers)
        if framing.length is not None and framing.length > self._max_body:
            raise ProtocolError(f"body of {framing.length} bytes; at most {self._max_body}")
        if framing.chunked:
            self._body = ChunkedBody(self._max_body)
        elif framing.length is None:
            self._body = UntilCloseBody(self._max_body)
        elif framing.length:
            self._body = FixedLengthBody(framing.length)
