"""greet: the server speaks first, one exchange per connection."""

from __future__ import annotations

from wire import greet

from .base import CLOSE, BaseExchange, Reader, SinglePart


class Greet(BaseExchange):
    """The server speaks first, the client replies and closes: one exchange per connection."""

    server_speaks_first = connection_per_request = True
    final_bytes = greet.REPLY

    def reader(self) -> Reader:
        """Return a reader for the greeting."""
        return GreetReader()


class GreetReader(SinglePart):
    """Collects the greeting."""

    __slots__ = ("_greeted",)

    def __init__(self) -> None:
        self._greeted = greet.GreetingReader()

    def feed(self, data: bytes) -> str | None:
        """Take bytes; see `Reader`."""
        return None if self._greeted.feed(data) is None else CLOSE

    def eof(self) -> str | None:
        """Return None: an end of stream never completes a greeting."""
        return None
