"""The server's side of the echo wire: a frame in, the handler's answer to its payload out."""

from __future__ import annotations

from iomodels.handlers import Handler
from iomodels.session import REFUSE, Effects, NewSession, SendFile
from iomodels.sessions._turns import Turns
from iomodels.stats import STATS
from wire.echo import FrameParser, ProtocolError, encode


def make(handler: Handler) -> NewSession:
    """Return what makes a session for each connection."""
    return lambda _address: EchoSession(handler)


class EchoSession(Turns[bytes]):
    """One connection of frames."""

    __slots__ = ("_handler", "_parser")

    def __init__(self, handler: Handler) -> None:
        super().__init__()
        self._handler = handler
        self._parser = FrameParser()

    def received(self, data: bytes) -> Effects:
        """Answer the frames that are now whole; close on one that is too long."""
        try:
            payloads = self._parser.feed(data)
        except ProtocolError as fault:
            STATS.error("protocol")
            return self.take(fault.parsed, (REFUSE,))
        return self.take(payloads)

    def waits_s(self, payload: bytes) -> float:
        """Every frame is the handler's."""
        del payload
        return self._handler.wait_s

    def reply(self, payload: bytes) -> Effects:
        """Return the answer as one frame."""
        content = self._handler.answer(payload)
        if isinstance(content, SendFile):
            return (content.length.to_bytes(4, "big"), content)
        return (encode(content),)
