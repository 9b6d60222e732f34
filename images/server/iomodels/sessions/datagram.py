"""The server's side of the datagram wire: one session per datagram, which goes when it is answered."""

from __future__ import annotations

import os

from iomodels.handlers import Handler
from iomodels.session import CLOSE, Effects, NewSession, SendFile, Wait
from iomodels.stats import STATS
from wire.datagram import Datagram, ProtocolError, decode, encode


def make(handler: Handler) -> NewSession:
    """Return what makes a session for each datagram."""
    return lambda _address: DatagramSession(handler)


class DatagramSession:
    """One request and its answer."""

    __slots__ = ("_handler", "_request", "answers")

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._request: Datagram | None = None
        self.answers = 0

    def opened(self) -> Effects:
        """Say nothing: the client speaks first."""
        return ()

    def received(self, data: bytes) -> Effects:
        """Answer the datagram, or say nothing to one that is no request: UDP must not amplify nonsense."""
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

    def ended(self) -> Effects:
        """A datagram has no end of stream; asked all the same, there is nothing more to say."""
        return (CLOSE,)
