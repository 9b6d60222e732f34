"""http1: one GET, or one POST for the handler `echo`."""

from __future__ import annotations

from wire import http1
from wire.http1 import ProtocolError

from swarm.answers import WrongAnswerError, check, expected_answer

from .base import CLOSE, KEEP, PAYLOAD, BaseExchange, Reader, SinglePart


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
