"""The server's side of the echo wire: each frame is answered with the handler's answer to its payload."""

from __future__ import annotations

from iomodels.handlers import Handler
from iomodels.session import REFUSE, Effects, SendFile, SessionFactory
from iomodels.sessions._request_response import RequestResponse
from iomodels.stats import STATS
from wire.echo import FrameParser, ProtocolError, encode


def make(handler: Handler) -> SessionFactory:
    """Return the function that makes a session for each connection."""
    return lambda _address: EchoSession(handler)


class EchoSession(RequestResponse[bytes]):
    """One connection of frames."""

    __slots__ = ("_handler", "_parser")

    def __init__(self, handler: Handler) -> None:
        super().__init__()
        self._handler = handler
        self._parser = FrameParser()

    def received(self, data: bytes) -> Effects:
        """Answer the frames that are now complete; close if a frame is too long."""
        try:
            payloads = self._parser.feed(data)
        except ProtocolError as fault:
            STATS.error("protocol")
            return self.respond(fault.parsed, (REFUSE,))
        return self.respond(payloads)

    def wait_s_for(self, payload: bytes) -> float:
        """Return the handler's wait, the same for every frame."""
        del payload
        return self._handler.wait_s

    def reply(self, payload: bytes) -> Effects:
        """Return the answer as one frame."""
        content = self._handler.answer(payload)
        if isinstance(content, SendFile):
            return (content.length.to_bytes(4, "big"), content)
        return (encode(content),)
