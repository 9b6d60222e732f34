"""The server's side of the greet wire: speaks first, listens until the client closes, logs what it heard."""

from __future__ import annotations

from iomodels.handlers import Handler
from iomodels.session import CLOSE, REFUSE, Address, Effects, NewSession
from iomodels.stats import STATS, log
from wire.greet import GREETING, ProtocolError, ReplyReader


def make(handler: Handler) -> NewSession:
    """Return what makes a session for each connection; there is nothing to handle but the greeting."""
    del handler
    return GreetSession


class GreetSession:
    """One greeting."""

    __slots__ = ("_address", "_heard", "answers")

    def __init__(self, address: Address) -> None:
        self._address = address
        self._heard = ReplyReader()
        self.answers = 0

    def opened(self) -> Effects:
        """Greet before the client has said a word."""
        return (GREETING,)

    def received(self, data: bytes) -> Effects:
        """Keep what the client says."""
        try:
            self._heard.feed(data)
        except ProtocolError:
            STATS.error("protocol")
            return (REFUSE,)
        return ()

    def resumed(self) -> Effects:
        """Never called: a greeting does not wait."""
        return ()

    def ended(self) -> Effects:
        """The client has closed: its message is whole, the exchange is done."""
        if self._heard.message:
            self.answers += 1
            text = self._heard.message.decode("utf-8", "replace")  # per message: a read may split a character
            log("info", f"{self._address[0]}:{self._address[1]} says {text!r}")
        return (CLOSE,)
