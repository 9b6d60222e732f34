"""The interface between a model and everything else: sessions, their effects, and buffered output.

A `Session` is one connection's protocol without I/O. The model calls it with an event and gets back
*effects*, in order, which the model carries out in its own way. A plain `bytes` object is the effect "send
this".

Two rules keep answers in order:

* `Wait` and `Close` come last in a sequence of effects. `resumed` returns what follows a wait.
* While a session waits, or while output is unsent, its model does not read from the peer. This is the
  backpressure, and TCP carries it to the sender.
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
    """Wait, then call `resumed`. Waiting is I/O, so each model does it in its own way."""

    seconds: float


class Close(NamedTuple):
    """Close when everything before it is sent. `unread`: data that nobody will read may be in the buffer."""

    unread: bool


CLOSE: Final = Close(unread=False)
REFUSE: Final = Close(unread=True)

Effect: TypeAlias = bytes | SendFile | Wait | Close
Effects: TypeAlias = Sequence[Effect]


class Session(Protocol):
    """One connection; over UDP, one datagram (one call of `received`, one answer).

    Attributes:
        answers: number of answers returned and not yet counted. The model adds it to `requests` when the
            answers are sent, and sets it to 0.
    """

    answers: int

    def opened(self) -> Effects:
        """Return what to do when the connection is open."""

    def received(self, data: bytes) -> Effects:
        """Return what to do with the bytes that were read, at least one."""

    def resumed(self) -> Effects:
        """Return what to do after the last `Wait`."""

    def eof(self) -> Effects:
        """Return what to do at the end of the peer's stream; the peer may still read."""


SessionFactory: TypeAlias = Callable[[Address], Session]

READ_BYTES = 65536

# What a stream waits for: nothing any more, bytes to read, room in the send buffer, or the end of a wait.
CLOSED, READ, WRITE, PAUSED = 0, 1, 2, 3


class Stream:
    """One non-blocking connection: its session, and the output that the kernel did not take yet.

    `run_effects` and `flush` return the new interest:

    * READ: everything is sent; wait for input.
    * WRITE: the send buffer is full; call `flush` when it has room.
    * PAUSED: for `pause_s`, then run the effects of `session.resumed`.
    * CLOSED: close the descriptor.

    Both raise OSError when the connection is broken (ECONNRESET, EPIPE).

    Attributes:
        interest: what the model waits for on this descriptor now; the model sets it.
        pause_s: length of the last `Wait`, in seconds.
    """

    __slots__ = ("_queue", "counters", "fd", "interest", "pause_s", "session")

    def __init__(self, fd: int, session: Session, counters: Counters) -> None:
        self.fd = fd
        self.session = session
        self.counters = counters
        self.interest = READ
        self.pause_s = 0.0
        self._queue: deque[Effect | memoryview] | None = None

    def run_effects(self, effects: Effects) -> int:
        """Carry out effects until the kernel takes no more; return the new interest. Needs an empty queue."""
        if len(effects) == 1 and type(data := effects[0]) is bytes:  # nearly always: one answer
            try:
                sent = os.write(self.fd, data)
            except BlockingIOError:
                self.counters.eagain += 1
                sent = 0
            counters, session = self.counters, self.session
            counters.bytes_out += sent
            if sent == len(data):
                counters.requests += session.answers
                session.answers = 0
                return READ
            self._queue = deque((memoryview(data)[sent:],))
            return self.flush()
        if not effects:
            return READ
        self._queue = deque(effects)
        return self.flush()

    def connection_lost(self, error: OSError | None = None) -> int:
        """Count a broken connection, and return the new interest: CLOSED."""
        STATS.connection_lost(error)
        return CLOSED

    def flush(self) -> int:
        """Carry out what is queued until the kernel takes no more; return the new interest."""
        queue = self._queue
        while queue:
            effect = queue[0]
            if isinstance(effect, bytes | memoryview | SendFile):
                try:
                    remaining = self._send(effect)
                except BlockingIOError:
                    self.counters.eagain += 1
                    return WRITE
                if remaining is not None:
                    queue[0] = remaining
                    continue
            queue.popleft()
            if isinstance(effect, Wait):
                self._count_answers()
                self.pause_s = effect.seconds
                return PAUSED
            if isinstance(effect, Close):
                self._count_answers()
                if effect.unread:
                    discard_unread(self.fd)
                return CLOSED
        self._queue = None
        self._count_answers()
        return READ

    def _send(self, effect: bytes | memoryview | SendFile) -> memoryview | SendFile | None:
        """Send what the kernel takes; return what remains to be sent."""
        if isinstance(effect, SendFile):
            sent = os.sendfile(self.fd, effect.fd, effect.offset, effect.length)
            if not sent:
                raise EOFError(f"the file is {effect.length} bytes too short")
            self.counters.bytes_out += sent
            remaining = SendFile(effect.fd, effect.offset + sent, effect.length - sent)
            return remaining if remaining.length else None
        sent = os.write(self.fd, effect)
        self.counters.bytes_out += sent
        return memoryview(effect)[sent:] if sent < len(effect) else None

    def _count_answers(self) -> None:
        self.counters.requests += self.session.answers
        self.session.answers = 0


def run_effects(fd: int, session: Session, effects: Effects, counters: Counters) -> bool:
    """Carry out effects on a blocking socket, waits included; return whether the connection stays open.

    write(2) blocks while the send buffer is full, and may still take only a part. A wait is a sleep: the
    thread has nothing else to do.
    """
    while True:
        is_open = True
        wait_s = None
        for effect in effects:
            if isinstance(effect, bytes):
                _write_all(fd, effect, counters)
            elif isinstance(effect, SendFile):
                _send_file(fd, effect, counters)
            elif isinstance(effect, Wait):
                wait_s = effect.seconds
            else:
                is_open = False
                if effect.unread:
                    discard_unread(fd)
        counters.requests += session.answers
        session.answers = 0
        if wait_s is None:
            return is_open
        time.sleep(wait_s)
        effects = session.resumed()


def _write_all(fd: int, data: bytes, counters: Counters) -> None:
    sent = os.write(fd, data)
    counters.bytes_out += sent
    while sent < len(data):
        more = os.write(fd, memoryview(data)[sent:])
        counters.bytes_out += more
        sent += more


def _send_file(fd: int, file: SendFile, counters: Counters) -> None:
    offset, end = file.offset, file.offset + file.length
    while offset < end:
        sent = os.sendfile(fd, file.fd, offset, end - offset)
        if not sent:
            raise EOFError(f"the file is {end - offset} bytes too short")
        counters.bytes_out += sent
        offset += sent


def discard_unread(fd: int) -> None:
    """Read and discard what has arrived on a socket that is about to be closed.

    close(2) with unread bytes makes TCP send a reset (RFC 1122 §4.2.2.13), and the reset can overtake our
    last answer.
    """
    os.set_blocking(fd, False)
    for _ in range(16):
        try:
            if not os.read(fd, READ_BYTES):
                return
        except OSError:  # EAGAIN, or a broken connection: nothing is left to read
            return


class Pausable(Protocol):
    """What a timer can resume: a stream, or a model's own connection class."""

    interest: int


P = TypeVar("P", bound=Pausable)


class Timers(Generic[P]):
    """Pauses that end at a time: a heap of (due time, order of entry, item)."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, P | None]] = []
        self._order = 0

    def add(self, seconds: float, item: P | None) -> None:
        """Let `due` return `item` after that many seconds; None stands for the listener."""
        self._order += 1
        heapq.heappush(self._heap, (time.monotonic() + seconds, self._order, item))

    def timeout_s(self) -> float | None:
        """Return how long a model may sleep; None without limit."""
        return max(0.0, self._heap[0][0] - time.monotonic()) if self._heap else None

    def due(self) -> Iterable[P | None]:
        """Remove and return what is due now: the listener (None), and the streams that are still paused."""
        return self._expired() if self._heap else ()  # the heap is nearly always empty

    def _expired(self) -> Iterator[P | None]:
        heap = self._heap
        while heap and heap[0][0] <= time.monotonic():
            item = heapq.heappop(heap)[2]
            if item is None or item.interest == PAUSED:
                yield item
