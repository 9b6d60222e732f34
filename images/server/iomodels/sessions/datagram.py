"""The server's side of the datagram wire: one session per datagram, which ends with its answer."""

from __future__ import annotations

import os

from iomodels.handlers import Handler
from iomodels.session import CLOSE, Effects, SendFile, SessionFactory, Wait
from iomodels.stats import STATS
from wire.datagram import Datagram, ProtocolError, decode, encode


def make(handler: Handler) -> SessionFactory:
    """Return the function that makes a session for each datagram."""
    return lambda _address: DatagramSession(handler)


class DatagramSession:
    """One request and its answer."""

    __slots__ = ("_handler", "_request", "answers")

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._request: Datagram | None = None
        self.answers = 0

    def opened(self) -> Effects:
        """Return no effects: the client speaks first."""
        return ()

    def received(self, data: bytes) -> Effects:
        """Answer the datagram; ignore one that is no request: UDP servers must not amplify junk."""
        try:
            self._request = decode(data)
        except ProtocolError:
            STATS.error("protocol")
            return ()
        return (Wait(self._handler.wait_s),) if self._handler.wait_s else self.resumed()

    def resumed(self) -> Effects:
        """Return the answer."""
        if self._request is None:
            return ()
        content = self._handler.answer(self._request.payload)
        if isinstance(content, SendFile):
            content = os.pread(content.fd, content.length, content.offset)
        self.answers += 1
        return (encode(self._request.id, content),)

    def eof(self) -> Effects:
        """Close; a datagram has no end of stream, so models do not call this."""
        return (CLOSE,)
