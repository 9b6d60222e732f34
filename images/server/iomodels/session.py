"""The seam between a model and everything else: sessions, their effects, and output the kernel will not take.

A `Session` is one conversation without I/O. The model hands it what happened and gets back *effects*, in
order, to carry out in the model's own way. A plain `bytes` object is the effect "send this".

Two rules keep answers in order. `Wait` and `CLOSE` come last in a sequence: what follows a wait is what
`resumed` returns. And while a session waits, or while output is unsent, its model does not read from the
peer: this is the backpressure, and TCP carries it to the sender.
"""

from __future__ import annotations

import heapq
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

from iomodels.stats import STATS, Counters

Address: TypeAlias = tuple[str, int]


class SendFile(NamedTuple):
    """Send `length` bytes of the open file `fd` from `offset`; sendfile(2) where the model can."""

    fd: int
    offset: int
    length: int


class Wait(NamedTuple):
    """Wait, then call `resumed`. Waiting is I/O: how it is done is the model's business."""

    seconds: float


class Close(NamedTuple):
    """Close once everything before it is sent. `unread`: the peer may be sending what nobody will read."""

    unread: bool


CLOSE: Final = Close(unread=False)
REFUSE: Final = Close(unread=True)

Effect: TypeAlias = bytes | SendFile | Wait | Close
Effects: TypeAlias = Sequence[Effect]


class Session(Protocol):
    """One conversation; over UDP, one datagram (`received` once, and its answer).

    Attributes:
        answers: answers returned since somebody set it to 0; the model counts them as requests once they are
        sent.
    """

    answers: int

    def opened(self) -> Effects:
        """The connection is there."""

    def received(self, data: bytes) -> Effects:
        """Bytes came, at least one."""

    def resumed(self) -> Effects:
        """The last `Wait` is over."""

    def ended(self) -> Effects:
        """The peer will send no more; it may still read."""


NewSession: TypeAlias = Callable[[Address], Session]

READ_BYTES = 65536

# What a stream wants of its model next.
GONE, READ, WRITE, REST = 0, 1, 2, 3


class Stream:
    """One non-blocking connection: its session, and the output that the kernel would not take yet.

    Attributes:
        wish: READ, WRITE (the send buffer is full), REST (for `rest_s`, then `resumed`) or GONE (close it).
        The
            model keeps here what it has told the kernel; `perform` and `flush` return what it should be now.

    Both raise OSError when the peer is gone (ECONNRESET, EPIPE).
    """

    __slots__ = ("_queue", "cell", "fd", "rest_s", "session", "wish")

    def __init__(self, fd: int, session: Session, cell: Counters) -> None:
        self.fd = fd
        self.session = session
        self.cell = cell
        self.wish = READ
        self.rest_s = 0.0
        self._queue: deque[Effect | memoryview] | None = None

    def perform(self, effects: Effects) -> int:
        """Carry out effects as far as the kernel allows; return the new wish. Nothing may be queued."""
        if len(effects) == 1 and type(data := effects[0]) is bytes:  # nearly always: one answer, taken whole
            try:
                sent = os.write(self.fd, data)
            except BlockingIOError:
                self.cell.eagain += 1
                sent = 0
            cell, session = self.cell, self.session
            cell.bytes_out += sent
            if sent == len(data):
                cell.requests += session.answers
                session.answers = 0
                return READ
            self._queue = deque((memoryview(data)[sent:],))
            return self.flush()
        if not effects:
            return READ
        self._queue = deque(effects)
        return self.flush()

    def lost(self, error: OSError | None = None) -> int:
        """Count a connection that broke, and return what is left to wish: GONE."""
        STATS.lost(error)
        return GONE

    def flush(self) -> int:
        """Carry out what is queued until it is done or the kernel takes no more; return the new wish."""
        queue = self._queue
        while queue:
            effect = queue[0]
            if isinstance(effect, bytes | memoryview | SendFile):
                try:
                    rest = self._send(effect)
                except BlockingIOError:
                    self.cell.eagain += 1
                    return WRITE
                if rest is not None:
                    queue[0] = rest
                    continue
            queue.popleft()
            if isinstance(effect, Wait):
                self._count_answers()
                self.rest_s = effect.seconds
                return REST
            if isinstance(effect, Close):
                self._count_answers()
                if effect.unread:
                    discard(self.fd)
                return GONE
        self._queue = None
        self._count_answers()
        return READ

    def _send(self, effect: bytes | memoryview | SendFile) -> memoryview | SendFile | None:
        """Send what the kernel takes; return what is left of it."""
        if isinstance(effect, SendFile):
            sent = os.sendfile(self.fd, effect.fd, effect.offset, effect.length)
            if not sent:
                raise EOFError(f"file ended {effect.length} bytes early")
            self.cell.bytes_out += sent
            left = SendFile(effect.fd, effect.offset + sent, effect.length - sent)
            return left if left.length else None
        sent = os.write(self.fd, effect)
        self.cell.bytes_out += sent
        return memoryview(effect)[sent:] if sent < len(effect) else None

    def _count_answers(self) -> None:
        self.cell.requests += self.session.answers
        self.session.answers = 0


def converse(fd: int, session: Session, effects: Effects, cell: Counters) -> bool:
    """Carry out effects on a blocking socket, waits included; return whether the connection goes on.

    write(2) blocks while the send buffer is full, and may still take less than all of it. A wait is a sleep:
    the thread has nothing else to do.
    """
    while True:
        going_on = True
        wait_s = None
        for effect in effects:
            if isinstance(effect, bytes):
                _write_all(fd, effect, cell)
            elif isinstance(effect, SendFile):
                _send_whole(fd, effect, cell)
            elif isinstance(effect, Wait):
                wait_s = effect.seconds
            else:
                going_on = False
                if effect.unread:
                    discard(fd)
        cell.requests += session.answers
        session.answers = 0
        if wait_s is None:
            return going_on
        time.sleep(wait_s)
        effects = session.resumed()


def _write_all(fd: int, data: bytes, cell: Counters) -> None:
    sent = os.write(fd, data)
    cell.bytes_out += sent
    while sent < len(data):
        more = os.write(fd, memoryview(data)[sent:])
        cell.bytes_out += more
        sent += more


def _send_whole(fd: int, file: SendFile, cell: Counters) -> None:
    offset, end = file.offset, file.offset + file.length
    while offset < end:
        sent = os.sendfile(fd, file.fd, offset, end - offset)
        if not sent:
            raise EOFError(f"file ended {end - offset} bytes early")
        cell.bytes_out += sent
        offset += sent


def discard(fd: int) -> None:
    """Read away what has arrived on a socket that is about to be closed.

    close(2) with unread bytes makes TCP send a reset (RFC 1122 §4.2.2.13), and a reset can overtake our last
    answer.
    """
    os.set_blocking(fd, False)
    for _ in range(16):
        try:
            if not os.read(fd, READ_BYTES):
                return
        except (
            OSError
        ):  # nothing there, or the peer is gone already: either way there is nothing left to read
            return


class Resting(Protocol):
    """What can be woken: a stream, or whatever else a model lets rest."""

    wish: int


R = TypeVar("R", bound=Resting)


class Timers(Generic[R]):
    """Who has to be woken when: a heap of (due time, order, item)."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, R | None]] = []
        self._order = 0

    def add(self, seconds: float, item: R | None) -> None:
        """Have `item` come out of `due` in that many seconds; None stands for the listener."""
        self._order += 1
        heapq.heappush(self._heap, (time.monotonic() + seconds, self._order, item))

    def timeout_s(self) -> float | None:
        """Return how long a model may sleep; None for as long as it likes."""
        return max(0.0, self._heap[0][0] - time.monotonic()) if self._heap else None

    def due(self) -> Iterable[R | None]:
        """Take out what is due now: the listener, and the streams that still rest."""
        return self._expired() if self._heap else ()  # asked at every wake-up; nearly always nobody rests

    def _expired(self) -> Iterator[R | None]:
        heap = self._heap
        while heap and heap[0][0] <= time.monotonic():
            item = heapq.heappop(heap)[2]
            if item is None or item.wish == REST:
                yield item
