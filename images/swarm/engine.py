"""The engine: all connections of one process in one level-triggered epoll loop.

What keeps a request at a few microseconds: the loop waits once for many connections; a descriptor is
registered once, for reading (a write is tried at once and nearly always taken whole); an answer whose bytes
equal those of the last right one *is* the right one (only its Date changes, once a second) and needs no
parser.

Times are CLOCK_MONOTONIC. An answer's time is the wake-up that brought it, not the moment its turn came in
that batch: the rest is the generator's own delay. A request's actual send is timed just before the write.
"""

from __future__ import annotations

import math
import os
import select
from collections.abc import Callable, Sequence
from time import monotonic

from .answers import WrongAnswerError
from .connection import Connection, Dialler
from .exchange import KEEP, Exchange, ProtocolError, Reader
from .faults import Faults, error_kind
from .histogram import record
from .ledger import Ledger, Second
from .load import LoadProcess, NoLoad
from .pool import Pool, overdue
from .waiting import Waiter

EPOLLIN, EPOLLOUT = select.EPOLLIN, select.EPOLLOUT
READ_BYTES = 16384
BATCH = 128  # descriptors per wake-up: bounds how late an arrival gets behind a full batch
TICK_S = 0.01  # housekeeping, and the probe of the loop's lag
FAILED = "failed"
_read, _write = os.read, os.write  # the two calls of every request


class Engine:
    """One epoll loop over a pool of connections, driven by one load."""

    def __init__(
        self,
        exchange: Exchange,
        dialler: Dialler,
        *,
        spawn_rate_per_s: float,
        connect_deadline_s: float,
        request_timeout_s: float,
        idle_share: float = 0.0,
    ) -> None:
        self._exchange, self._request = exchange, exchange.request
        self._request_timeout_s = request_timeout_s
        self.ledger, self.faults = Ledger(), Faults()
        self.load: LoadProcess = NoLoad()
        self.in_flight: dict[Connection, None] = {}  # in the order of their sending
        self.waiter = Waiter()
        self._epoll = self.waiter.epoll
        self.pool = Pool(
            self,
            dialler,
            self._epoll,
            rate_per_s=spawn_rate_per_s,
            deadline_s=connect_deadline_s,
            once=exchange.once,
            idle_share=idle_share,
        )
        self._right = b"\0"  # the bytes of the last answer that was right, whole and alone
        self._bytes_in = self._bytes_out = 0
        self.now_s = monotonic()
        self._next_tick_s = self.now_s + TICK_S
        self.on_tick: Callable[[float], None] = lambda _: None

    # -- the loop

    def turn(self) -> None:
        """Wait once, and do all that is due then."""
        events = self.waiter.wait(min(self.load.next_due_s, self._next_tick_s), BATCH)
        self.now_s = monotonic()
        by_fd = self.pool.by_fd
        for fd, mask in events:
            connection = by_fd.get(fd)
            if connection is None:
                self.waiter.call(fd)
            elif mask & EPOLLOUT or connection.socket is not None:
                self._writable(connection)
            else:
                self._readable(connection)
        now_s = monotonic()
        if self.load.next_due_s <= now_s:
            self.load.send_due(now_s)
        if self._next_tick_s <= now_s:
            self._tick(now_s)

    def _tick(self, now_s: float) -> None:
        second = self.ledger.at(now_s)
        record(second.loop_lag, now_s - self._next_tick_s)
        self._next_tick_s = now_s + TICK_S
        self.now_s = now_s
        for connection in overdue(self.in_flight, now_s - self._request_timeout_s):
            kind = "timeout" if connection.socket is None else "connect_timeout"
            self.fail(connection, kind, f"no answer within {self._request_timeout_s:g} s")
        self.pool.step(now_s)
        second.connected, second.in_flight = self.pool.open, len(self.in_flight)
        second.bytes_in += self._bytes_in
        second.bytes_out += self._bytes_out
        self._bytes_in = self._bytes_out = 0
        self.on_tick(now_s)

    # -- requests

    def send(self, connection: Connection, intended_s: float, second: Second) -> None:
        """Send one request, meant for `intended_s` and booked in `second`."""
        request = self._request or self._prepare(connection)
        connection.intended_s, connection.second = intended_s, second
        self.in_flight[connection] = None
        second.sent += 1
        connection.sent_s = sent_s = monotonic()
        second.lateness[int((sent_s - intended_s) * 1e6)] += 1
        if connection.fd < 0:
            connection.rest = request
            self.pool.dial(connection)
            return
        try:
            written = _write(connection.fd, request)
        except BlockingIOError:
            written = 0
        except OSError as error:
            self.fail(connection, error_kind(error, connecting=False), str(error))
            return
        self._bytes_out += written
        if written != len(request):
            connection.rest = request[written:]
            self._epoll.modify(connection.fd, EPOLLIN | EPOLLOUT)

    def _prepare(self, connection: Connection) -> bytes:
        if self._exchange.speaks_first:
            return b""
        request, connection.reader = self._exchange.numbered()
        return request

    def _readable(self, connection: Connection) -> None:
        try:
            data = _read(connection.fd, READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self.fail(connection, error_kind(error, connecting=False), str(error))
            return
        self._bytes_in += len(data)
        second = connection.second
        if data == self._right and second is not None and connection.reader is None:
            self._answered(connection, second, KEEP)
        elif not data:
            self._peer_ended(connection, second)
        elif second is not None:
            self._parse(connection, second, data)
        elif not connection.ending and self._exchange.repeats:
            self.fail(connection, "protocol", f"bytes that nobody asked for: {data[:40]!r}")

    def _parse(self, connection: Connection, second: Second, data: bytes) -> None:
        whole = connection.reader is None
        reader: Reader = connection.reader or self._exchange.reader()
        connection.reader = reader
        known = len(reader.arrived)
        outcome = self._ask(connection, lambda: reader.feed(data))
        if outcome == FAILED:
            return
        if len(reader.arrived) != known:
            self._book_parts(connection, second, reader.arrived[known:])
        if outcome is None:
            self._continue(connection, reader)
            return
        if whole and outcome == KEEP and self._exchange.repeats:
            self._right = data
        self._answered(connection, second, outcome)

    def _book_parts(self, connection: Connection, second: Second, names: Sequence[str]) -> None:
        asked_s = max(connection.sent_s, connection.part_sent_s)
        for name in names:
            record(second.parts.setdefault(name, {}), self.now_s - asked_s)

    def _continue(self, connection: Connection, reader: Reader) -> None:
        request = reader.next_request()
        if request:
            connection.part_sent_s = monotonic()
            connection.rest += request
            self._write_rest(connection)

    def _ask(self, connection: Connection, reader: Callable[[], str | None]) -> str | None:
        """Return what a reader says, or FAILED once its complaint has failed the request."""
        try:
            return reader()
        except ProtocolError as error:
            self.fail(connection, "protocol", str(error))
        except WrongAnswerError as error:
            self.fail(connection, "wrong_answer", str(error))
        return FAILED

    def _peer_ended(self, connection: Connection, second: Second | None) -> None:
        if connection.ending:
            self.pool.close(connection)
            return
        if second is None:
            self.fail(connection, "idle_closed", "the server closed an idle connection")
            return
        reader = connection.reader
        outcome = self._ask(connection, reader.eof) if reader is not None else None
        if outcome is None:
            self.fail(connection, "closed", "the server closed before its answer was whole")
        elif outcome != FAILED:
            self._answered(connection, second, outcome)

    def _answered(self, connection: Connection, second: Second, outcome: str) -> None:
        now_s = self.now_s
        del self.in_flight[connection]
        connection.second = connection.reader = None
        connection.answered, connection.failures = True, 0
        second.answered += 1
        response_s = now_s - connection.intended_s
        second.under_way_s += response_s
        second.response[int(response_s * 1e6)] += 1
        second.service[int((now_s - connection.sent_s) * 1e6)] += 1
        if outcome == KEEP and self.pool.keeps:
            self.load.add_idle(connection, now_s)
        elif self.pool.surplus():
            self.pool.let_go(connection)
        else:
            self._say_goodbye(connection)

    def _say_goodbye(self, connection: Connection) -> None:
        farewell = self._exchange.farewell
        if farewell:
            try:
                self._bytes_out += os.write(connection.fd, farewell)
            except OSError as error:
                self._note(connection, error_kind(error, connecting=False), str(error))
        self.pool.end(connection, self.now_s, linger=self._exchange.server_ends)

    def _writable(self, connection: Connection) -> None:
        if connection.socket is not None:
            self.pool.finish(connection)
        else:
            self._write_rest(connection)

    def _write_rest(self, connection: Connection) -> None:
        try:
            written = os.write(connection.fd, connection.rest)
        except BlockingIOError:
            return
        except OSError as error:
            self.fail(connection, error_kind(error, connecting=False), str(error))
            return
        self._bytes_out += written
        connection.rest = connection.rest[written:]
        self._epoll.modify(connection.fd, EPOLLIN | EPOLLOUT if connection.rest else EPOLLIN)

    # -- what the pool tells

    def connected(self, connection: Connection) -> None:
        """Use a connection that is open now."""
        second = self.ledger.at(self.now_s)
        second.connects += 1
        record(second.connect, self.now_s - connection.sent_s)
        if connection.second is None:
            self._hand_over(connection)
        elif connection.rest:
            self._write_rest(connection)

    def _hand_over(self, connection: Connection) -> None:
        if self.pool.surplus():
            self.pool.let_go(connection)
        elif not connection.holds:
            self.load.add_idle(connection, self.now_s)

    def release(self) -> Connection | None:
        """Give the pool a connection back that has nothing to do at the moment."""
        return self.load.take_idle()

    def usable(self, connection: Connection) -> None:
        """Give a slot to the load; its connection is dialled when it is used."""
        self.load.add_idle(connection, self.now_s)

    def fail(self, connection: Connection, kind: str, says: str) -> None:
        """End a connection that went wrong, and with it the request in flight, if any."""
        self._note(connection, kind, says)
        if connection.second is not None:
            connection.second.failed += 1
            connection.second = None
            del self.in_flight[connection]
        self.pool.lose(connection, self.now_s)

    def _note(self, connection: Connection, kind: str, says: str) -> None:
        second = connection.second or self.ledger.at(self.now_s)
        second.errors[kind] = second.errors.get(kind, 0) + 1
        self.faults.add(kind, says, self.now_s)

    # -- phases

    def begin(self, load: LoadProcess) -> None:
        """Let `load` take over; connections that gathered so far go to it."""
        gathered = self.load.gathered if isinstance(self.load, NoLoad) else []
        self.load = load
        for connection in gathered:
            if not connection.gone:
                load.add_idle(connection, monotonic())

    def give_up(self) -> None:
        """End the drain: what is in flight stays unanswered, what still waits stays unsent."""
        self.load.drop_queue()
        for connection in list(self.in_flight):
            self.fail(connection, "unanswered", "still in flight when the drain ended")

    def is_quiet(self) -> bool:
        """Whether nothing is in flight and nothing more will be sent."""
        return not self.in_flight and not self.load.queued() and math.isinf(self.load.next_due_s)
