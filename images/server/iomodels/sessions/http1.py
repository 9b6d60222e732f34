"""The server's side of the http1 wire: a very small web site.

``/`` answers with the handler (GET, HEAD, POST: the body is the handler's payload), ``/plaintext`` and
``/json`` with the two fixed answers that web benchmarks share (GET, HEAD). Anything else is 404, a known
method in the wrong place 405.
"""

from __future__ import annotations

import time

from iomodels.handlers import HELLO, JSON, Handler
from iomodels.session import CLOSE, REFUSE, Effects, NewSession, SendFile
from iomodels.sessions._turns import Turns
from iomodels.stats import STATS
from wire.http1 import CONTINUE, ProtocolError, Request, RequestParser, response, response_head

_FIXED = {"/plaintext": (HELLO, "text/plain"), "/json": (JSON, "application/json")}


def make(handler: Handler) -> NewSession:
    """Return what makes a session for each connection."""
    site = Site(handler)
    return lambda _address: HttpSession(site)


class Site:
    """What the connections of a server share: its pages, and the answer that was made last.

    Who measures a server asks for one page for ever. Then the parser hands out the same request object (it
    knows the bytes again), most handlers the same content object, and a response made of the same two
    changes with its Date alone, which has whole seconds. The handler works for every request all the same.

    Attributes:
        wait_s: how long a request for the handler's page waits before it is answered.
    """

    __slots__ = ("_handler", "_last", "wait_s")

    def __init__(self, handler: Handler) -> None:
        self.wait_s = handler.wait_s
        self._handler = handler
        self._last: tuple[Request | None, bytes | SendFile, int, Effects] = (None, b"", 0, ())

    def reply(self, request: Request) -> Effects:
        """Return the response to one request."""
        known, content, second, effects = self._last  # one tuple, read once: threads share it
        if request is not known:
            return self._turn_to(request)
        fresh = self._handler.answer(request.body)
        if fresh is content and second == int(time.time()):
            return effects
        return self._page(request, fresh)

    def _turn_to(self, request: Request) -> Effects:
        """Find what a request is for."""
        method, path = request.method, _path(request.target)
        if path == "/" and method in ("GET", "HEAD", "POST"):
            return self._page(request, self._handler.answer(request.body))
        head_only, keep, minor = method == "HEAD", request.keep_alive, request.minor
        if path in _FIXED and method in ("GET", "HEAD"):
            body, kind = _FIXED[path]
            data = response(200, body, kind, keep_alive=keep, head_only=head_only, minor=minor)
        else:
            data = _refusal(path, head_only, keep, minor)
        return (data,) if keep else (data, CLOSE)

    def _page(self, request: Request, content: bytes | SendFile) -> Effects:
        """Return the handler's page around its content, and keep it for the next who asks alike."""
        second = int(time.time())  # read first: kept too short rather than too long
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


class HttpSession(Turns[Request]):
    """One HTTP connection."""

    __slots__ = ("_parser", "_site")

    def __init__(self, site: Site) -> None:
        super().__init__()
        self._site = site
        self._parser = RequestParser()

    def received(self, data: bytes) -> Effects:
        """Answer the requests that are now whole; refuse what breaks the rules and close."""
        parser, site = self._parser, self._site
        try:
            requests = parser.feed(data)
        except ProtocolError as fault:
            STATS.error("protocol")
            says = f"{fault}\n".encode("latin-1", "replace")
            return self.take(fault.parsed, (response(fault.status, says, keep_alive=False), REFUSE))
        if len(requests) == 1 and not site.wait_s and not parser.wants_continue:
            self.answers += 1
            return site.reply(requests[0])
        effects = self.take(requests)
        if parser.wants_continue:
            parser.wants_continue = False
            return [*effects, CONTINUE]
        return effects

    def waits_s(self, request: Request) -> float:
        """Only the handler's own page waits."""
        return self._site.wait_s if _path(request.target) == "/" else 0.0

    def reply(self, request: Request) -> Effects:
        """Return the response to one request."""
        return self._site.reply(request)


def _path(target: str) -> str:
    """Return the path of a target in origin or absolute form, without its query."""
    if not target.startswith("/"):
        _, _, rest = target.partition("://")
        target = "/" + rest.partition("/")[2]
    return target.partition("?")[0]


def _refusal(path: str, head_only: bool, keep: bool, minor: int) -> bytes:
    headers: tuple[tuple[str, str], ...] = ()
    status, says = 404, b"not found\n"
    if path == "/" or path in _FIXED:
        headers = (("Allow", "GET, HEAD, POST" if path == "/" else "GET, HEAD"),)
        status, says = 405, b"method not allowed\n"
    return response(status, says, keep_alive=keep, head_only=head_only, minor=minor, headers=headers)
