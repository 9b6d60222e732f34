"""The server's side of the greet wire: greet, read until the client closes, log the message."""

from __future__ import annotations

from iomodels.handlers import Handler
from iomodels.session import CLOSE, REFUSE, Address, Effects, SessionFactory
from iomodels.stats import STATS, log
from wire.greet import GREETING, ProtocolError, ReplyReader


def make(handler: Handler) -> SessionFactory:
    """Return the function that makes a session for each connection; the greeting needs no handler."""
    del handler
    return GreetSession


class GreetSession:
    """One connection."""

    __slots__ = ("_address", "_reader", "answers")

    def __init__(self, address: Address) -> None:
        self._address = address
        self._reader = ReplyReader()
        self.answers = 0

    def opened(self) -> Effects:
        """Send the greeting: the server speaks first."""
        return (GREETING,)

    def received(self, data: bytes) -> Effects:
        """Keep the bytes of the client's message."""
        try:
            self._reader.feed(data)
        except ProtocolError:
            STATS.error("protocol")
            return (REFUSE,)
        return ()

    def resumed(self) -> Effects:
        """Return no effects; never called, as a greeting does not wait."""
        return ()

    def eof(self) -> Effects:
        """Log the client's message, which is complete now, and close."""
        if self._reader.message:
            self.answers += 1
            # Decode the whole message at once: a read may end within a character.
            text = self._reader.message.decode("utf-8", "replace")
            log("info", f"{self._address[0]}:{self._address[1]} says {text!r}")
        return (CLOSE,)
