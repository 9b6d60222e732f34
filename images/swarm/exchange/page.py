"""A page: several resources that make up one request, as a browser fetches them.

The resources are requested one after the other, each after the answer to the one before; or all at once,
pipelined on one connection (RFC 9112 §9.3.2) and answered in order. The response time of the page is that
of its last resource; the time of each resource is recorded by its path.
"""

from __future__ import annotations

from collections.abc import Sequence

from wire import http1
from wire.http1 import ProtocolError

from swarm.answers import HELLO, JSON, WrongAnswerError, check, expected_answer
from swarm.errors import SettingsError

from .base import CLOSE, KEEP, BaseExchange, Reader

FIXED = {"/plaintext": HELLO, "/json": JSON}


class Page(BaseExchange):
    """GET each of `paths`: `/` is the handler's answer, the others are the server's fixed resources."""

    constant_answer = False

    def __init__(self, handler: str, host: str, paths: Sequence[str], *, at_once: bool) -> None:
        self.paths, self.at_once = tuple(paths), at_once
        self.requests = [http1.request("GET", path, host) for path in paths]
        self.expected = [expected_at(path, handler) for path in paths]
        self.request = b"".join(self.requests) if at_once else self.requests[0]

    def reader(self) -> Reader:
        """Return a reader for the whole page."""
        return PageReader(self)


def expected_at(path: str, handler: str) -> bytes | None:
    """Return the expected payload of a resource.

    Raises:
        SettingsError: The server has no such resource.
    """
    if path == "/":
        return expected_answer(handler, b"")
    if path in FIXED:
        return FIXED[path]
    raise SettingsError(f"page.paths: there is no {path!r}; there are / and {', '.join(FIXED)}")


class PageReader:
    """Collects the resources of one page."""

    __slots__ = ("_page", "_parser", "_unsent", "parts_received")

    def __init__(self, page: Page) -> None:
        self._page, self._parser = page, http1.ResponseParser()
        self.parts_received: list[str] = []  # paths, in order
        self._unsent = [] if page.at_once else page.requests[1:]

    def feed(self, data: bytes) -> str | None:
        """Take bytes; see `Reader`."""
        for response in self._parser.feed(data):
            number = len(self.parts_received)
            if number == len(self._page.paths):
                raise ProtocolError("more responses than requests")
            if response.status != 200:
                raise WrongAnswerError(f"status {response.status} {response.reason}")
            check(response.body, self._page.expected[number])
            self.parts_received.append(self._page.paths[number])
            if len(self.parts_received) == len(self._page.paths):
                return KEEP if response.keep_alive else CLOSE
        return None

    def eof(self) -> str | None:
        """Return None: an end of stream never completes a page."""
        return None

    def next_request(self) -> bytes:
        """Return the request for the next resource if the last one requested has come, else nothing."""
        requested = len(self._page.paths) - len(self._unsent)
        return self._unsent.pop(0) if self._unsent and len(self.parts_received) == requested else b""
