"""datagram: one numbered UDP datagram each way."""

from __future__ import annotations

from itertools import count

from wire import datagram

from swarm.answers import check, expected_answer

from .base import KEEP, PAYLOAD, BaseExchange, Reader, SinglePart


class Datagram(BaseExchange):
    """One numbered datagram each way; the number tells late and repeated answers."""

    transport = "udp"
    constant_answer = False

    def __init__(self, handler: str) -> None:
        self._expected = expected_answer(handler, PAYLOAD)
        self._numbers = count(1)

    def numbered_request(self) -> tuple[bytes, Reader]:
        """Return a request with its own number, and the reader of its answer."""
        number = next(self._numbers)
        return datagram.encode(number, PAYLOAD), DatagramReader(number, self._expected)

    def reader(self) -> Reader:
        """Raise NotImplementedError: `numbered_request` returns the reader."""
        raise NotImplementedError("a datagram's reader comes with its request")


class DatagramReader(SinglePart):
    """Waits for the answer with its number."""

    __slots__ = ("_expected", "_number")

    def __init__(self, number: int, expected: bytes | None) -> None:
        self._number, self._expected = number, expected

    def feed(self, data: bytes) -> str | None:
        """Take one datagram; None if it answers another request."""
        answer = datagram.decode(data)
        if answer.id != self._number:
            return None
        check(answer.payload, self._expected)
        return KEEP

    def eof(self) -> str | None:
        """Return None: datagrams have no end of stream."""
        return None
