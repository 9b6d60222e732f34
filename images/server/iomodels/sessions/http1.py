"""The server's side of the http1 wire: a very small web site.

``/`` is answered by the handler (GET, HEAD, POST: the body is the handler's payload). ``/plaintext`` and
``/json`` have the fixed answers that web benchmarks use (GET, HEAD). Other paths are answered with 404, other
known methods with 405.
"""

from __future__ import annotations

import time

from iomodels.handlers import HELLO, JSON, Handler
from iomodels.session import CLOSE, REFUSE, Effects, SendFile, SessionFactory
from iomodels.sessions._request_response import RequestResponse
from iomodels.stats import STATS
from wire.http1 import CONTINUE, ProtocolError, Request, RequestParser, response, response_head

_FIXED = {"/plaintext": (HELLO, "text/plain"), "/json": (JSON, "application/json")}


def make(handler: Handler) -> SessionFactory:
    """Return the function that makes a session for each connection."""
    site = Site(handler)
    return lambda _address: HttpSession(site)


class Site:
    """What the connections of a server share: its pages, and the last response.

    A load generator sends the same request again and again. Then the parser returns the same request object
    (it recognises the bytes) and most handlers return the same content object. A response made of the same
    two objects differs only in its Date, which changes once a second: so it is used again. The handler still
    runs for every request.

    Attributes:
        wait_s: how long a request for ``/`` waits before it is answered.
    """

    __slots__ = ("_handler", "_last", "wait_s")

    def __init__(self, handler: Handler) -> None:
        self.wait_s = handler.wait_s
        self._handler = handler
        self._last: tuple[Request | None, bytes | SendFile, int, Effects] = (None, b"", 0, ())

    def reply(self, request: Request) -> Effects:
        """Return the response to one request."""
        known, content, second, effects = self._last  # one tuple, read at once: threads share it
        if request is not known:
            return self._route(request)
        fresh = self._handler.answer(request.body)
        if fresh is content and second == int(time.time()):
            return effects
        return self._handler_response(request, fresh)

    def _route(self, request: Request) -> Effects:
        """Return the response to a request that is not the last one again."""
        method, path = request.method, _path_of(request.target)
        if path == "/" and method in ("GET", "HEAD", "POST"):
            return self._handler_response(request, self._handler.answer(request.body))
        head_only, keep, minor = method == "HEAD", request.keep_alive, request.minor
        if path in _FIXED and method in ("GET", "HEAD"):
            body, kind = _FIXED[path]
            data = response(200, body, kind, keep_alive=keep, head_only=head_only, minor=minor)
        else:
            data = _error_response(path, head_only, keep, minor)
        return (data,) if keep else (data, CLOSE)

    def _handler_response(self, request: Request, content: bytes | SendFile) -> Effects:
        """Return the response with the handler's content, and keep it for the same request."""
        second = int(time.time())  # read before the Date is made: a kept response never has an old Date
        kind, keep, minor = self._handler.content_type, request.keep_alive, request.minor
        effects: Effects
        if isinstance(content, SendFile):
            head = response_head(200, content.length, kind, keep_alive=keep, minor=minor)
            effects = (head,) if request.method == "HEAD" else (head, content)
        else:
            head_only = request.method == "HEAD"
            effects = (response(200, content, kind, keep_alive=keep, head_only=head_only, minor=minor),)
        if not keep:
            return (*effects, CLOSE)
        self._last = (request, content, second, effects)
        return effects


class HttpSession(RequestResponse[Request]):
    """One HTTP connection."""

    __slots__ = ("_parser", "_site")

    def __init__(self, site: Site) -> None:
        super().__init__()
        self._site = site
        self._parser = RequestParser()

    def received(self, data: bytes) -> Effects:
        """Answer the requests that are now complete; answer a protocol error with its status and close."""
        parser, site = self._parser, self._site
        try:
            requests = parser.feed(data)
        except ProtocolError as fault:
            STATS.error("protocol")
            text = f"{fault}\n".encode("latin-1", "replace")
            return self.respond(fault.parsed, (response(fault.status, text, keep_alive=False), REFUSE))
        if len(requests) == 1 and not site.wait_s and not parser.wants_continue:
            self.answers += 1
            return site.reply(requests[0])
        effects = self.respond(requests)
        if parser.wants_continue:
            parser.wants_continue = False
            return [*effects, CONTINUE]
        return effects

    def wait_s_for(self, request: Request) -> float:
        """Return the handler's wait for ``/``, and 0 for other paths."""
        return self._site.wait_s if _path_of(request.target) == "/" else 0.0

    def reply(self, request: Request) -> Effects:
        """Return the response to one request."""
        return self._site.reply(request)


def _path_of(target: str) -> str:
    """Return the path of a target in origin or absolute form, without its query."""
    if not target.startswith("/"):
        _, _, remaining = target.partition("://")
        target = "/" + remaining.partition("/")[2]
    return target.partition("?")[0]


def _error_response(path: str, head_only: bool, keep: bool, minor: int) -> bytes:
    headers: tuple[tuple[str, str], ...] = ()
    status, text = 404, b"not found\n"
    if path == "/" or path in _FIXED:
        headers = (("Allow", "GET, HEAD, POST" if path == "/" else "GET, HEAD"),)
        status, text = 405, b"method not allowed\n"
    return response(status, text, keep_alive=keep, head_only=head_only, minor=minor, headers=headers)
