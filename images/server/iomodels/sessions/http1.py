"""The server's side of the http1 wire: a very small web site.

``/`` answers with the handler (GET, HEAD, POST: the body is the handler's payload), ``/plaintext`` and
``/json`` with the two fixed answers that web benchmarks share (GET, HEAD). Anything else is 404, a known
method in the wrong place 405.
"""

from __future__ import annotations

from iomodels.handlers import HELLO, JSON, Handler
from iomodels.session import CLOSE, REFUSE, Effects, NewSession, SendFile
from iomodels.sessions._turns import Turns
from iomodels.stats import STATS
from wire.http1 import CONTINUE, ProtocolError, Request, RequestParser, response, response_head

_FIXED = {"/plaintext": (HELLO, "text/plain"), "/json": (JSON, "application/json")}


def make(handler: Handler) -> NewSession:
    """Return what makes a session for each connection."""
    return lambda _address: HttpSession(handler)


class HttpSession(Turns[Request]):
    """One HTTP connection."""

    __slots__ = ("_handler", "_parser")

    def __init__(self, handler: Handler) -> None:
        super().__init__()
        self._handler = handler
        self._parser = RequestParser()

    def received(self, data: bytes) -> Effects:
        """Answer the requests that are now whole; refuse what breaks the rules and close."""
        parser = self._parser
        try:
            requests = parser.feed(data)
        except ProtocolError as fault:
            STATS.error("protocol")
            says = f"{fault}\n".encode("latin-1", "replace")
            return self.take(fault.parsed, (response(fault.status, says, keep_alive=False), REFUSE))
        if len(requests) == 1 and not self._handler.wait_s and not parser.wants_continue:
            self.answers += 1
            return self.reply(requests[0])
        effects = self.take(requests)
        if parser.wants_continue:
            parser.wants_continue = False
            return [*effects, CONTINUE]
        return effects

    def waits_s(self, request: Request) -> float:
        """Only the handler's own page waits."""
        return self._handler.wait_s if _path(request.target) == "/" else 0.0

    def reply(self, request: Request) -> Effects:
        """Return the response to one request."""
        method, keep, minor = request.method, request.keep_alive, request.minor
        path = "/" if request.target == "/" else _path(request.target)
        head_only = method == "HEAD"
        if path == "/" and method in ("GET", "HEAD", "POST"):
            content = self._handler.answer(request.body)
            kind = self._handler.content_type
            if isinstance(content, SendFile):
                head = response_head(200, content.length, kind, keep_alive=keep, minor=minor)
                effects: Effects = (head,) if head_only else (head, content)
            else:
                effects = (response(200, content, kind, keep_alive=keep, head_only=head_only, minor=minor),)
        elif path in _FIXED and method in ("GET", "HEAD"):
            body, kind = _FIXED[path]
            effects = (response(200, body, kind, keep_alive=keep, head_only=head_only, minor=minor),)
        else:
            effects = (_refusal(path, head_only, keep, minor),)
        return effects if keep else (*effects, CLOSE)


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
