"""echo: one length-prefixed frame each way."""

from __future__ import annotations

from wire import echo
from wire.http1 import ProtocolError

from swarm.answers import check, expected_answer

from .base import KEEP, PAYLOAD, BaseExchange, Reader, SinglePart


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
