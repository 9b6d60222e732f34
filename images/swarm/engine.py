"""The engine: all connections of one process in one level-triggered epoll loop.

A request takes a few microseconds because one epoll_wait(2) serves many connections; because a descriptor
is registered only once, for reading (a write is tried at once, and write(2) nearly always takes it whole);
and because an answer with the same bytes as the last correct one is correct (only its Date changes, once a
second) and is not parsed.

Times are CLOCK_MONOTONIC. An answer is timed by the return of the epoll_wait(2) that reported it, not by
its turn in the batch: the difference is the generator's own delay. The actual send is timed just before the
write.
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
from .load import LoadProcess, NoLoad
from .poller import Poller
from .pool import Pool, overdue
from .second_ends import SecondEnds
from .seconds import Second, Seconds

EPOLLIN, EPOLLOUT = select.EPOLLIN, select.EPOLLOUT
READ_BYTES = 16384
MAX_EVENTS = 128  # per epoll_wait(2): bounds how long a due arrival waits for a full batch
TICK_S = 0.01  # timeouts, new connections, and the measurement of the loop's lag
STALL_S = 0.005  # a longer gap between two looks at the clock is lost time, with its whole length
FAILED = "failed"
_read, _write = os.read, os.write  # the system calls of every request, without an attribute lookup


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
        self.seconds, self.faults = Seconds(), Faults()
        self._ends = SecondEnds(self.seconds)
        self.area = self._ends.area
        self.load: LoadProcess = NoLoad()
        self.in_flight: dict[Connection, None] = {}  # in the order of sending
        self.poller = Poller()
        self._epoll = self.poller.epoll
        self.pool = Pool(
            self,
            dialler,
            self._epoll,
            rate_per_s=spawn_rate_per_s,
            deadline_s=connect_deadline_s,
            connection_per_request=exchange.connection_per_request,
            idle_share=idle_share,
        )
        self._last_answer = b"\0"  # the bytes of the last correct answer that came in one read
        self._bytes_in = self._bytes_out = 0
        # When the last batch came, and was handled; when its connections became free.
        self.now_s = self._looked_s = self._free_s = monotonic()
        self._next_tick_s = self.now_s + TICK_S
        self.on_tick: Callable[[float], None] = lambda _: None

    # -- the loop

    def run_once(self) -> None:
        """Wait once, then handle all events and all that is due."""
        due_s = min(self.load.next_due_s, self._next_tick_s)
        events = self.poller.wait(due_s, MAX_EVENTS)
        self.now_s = now_s = monotonic()
        # The wait ends at `due_s`. If it ends later, the loop was kept from running, and an answer that it
        # finds then may have come long before: its connection counts as free from `due_s` on.
        self._free_s = min(self.now_s, due_s)
        if now_s - due_s > STALL_S:
            self._late_look(max(due_s, self._looked_s), now_s)
        if now_s >= self._ends.current.ends_s:
            self._ends.pass_to(now_s, self.in_flight, self.load)
        by_fd = self.pool.by_fd
        for fd, mask in events:
            connection = by_fd.get(fd)
            if connection is None:
                self.poller.dispatch(fd)
            elif mask & EPOLLOUT or connection.socket is not None:
                self._writable(connection)
            else:
                self._readable(connection)
        self._looked_s = now_s = monotonic()
        if now_s - self.now_s > STALL_S:
            self.seconds.lose(self.now_s, now_s)
        if self.load.next_due_s <= now_s:
            self.load.send_due(now_s)
        if self._next_tick_s <= now_s:
            self._tick(now_s)

    def _late_look(self, asked_s: float, now_s: float) -> None:
        if now_s - asked_s > STALL_S:
            self.seconds.lose(asked_s, now_s)

    def _tick(self, now_s: float) -> None:
        self._ends.pass_to(now_s, self.in_flight, self.load)
        second = self.seconds.at(now_s)
        record(second.loop_lag, now_s - self._next_tick_s)
        self._free_s = min(now_s, self._next_tick_s)
        self._next_tick_s = now_s + TICK_S
        self.now_s = now_s
        for connection in overdue(self.in_flight, now_s - self._request_timeout_s):
            kind = "timeout" if connection.socket is None else "connect_timeout"
            self.fail(connection, kind, f"no answer within {self._request_timeout_s:g} s")
        self.pool.tick(now_s)
        second.connected = self.pool.open
        second.sample(now_s, len(self.in_flight) + self.load.queued(), self.pool.open)
        second.bytes_in += self._bytes_in
        second.bytes_out += self._bytes_out
        self._bytes_in = self._bytes_out = 0
        self.on_tick(now_s)

    # -- requests

    def send(
        self, connection: Connection, intended_s: float, second: Second, held_s: float = math.inf
    ) -> None:
        """Send one request that was due at `intended_s` and is counted in `second`.

        From `held_s` on no connection was free, until this one was: that time is no delay of the generator.
        """
        request = self._request or self._make_request(connection)
        connection.intended_s, connection.second = intended_s, second
        self.in_flight[connection] = None
        second.sent += 1
        connection.sent_s = sent_s = monotonic()
        self.area.changes_s -= sent_s
        own_s = sent_s - intended_s
        second.lateness[int(own_s * 1e6)] += 1
        if held_s < self._free_s:
            own_s -= self._free_s - held_s
        second.lateness_generator[int(own_s * 1e6)] += 1
        if connection.fd < 0:
            connection.unsent = request
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
            connection.unsent = request[written:]
            self._epoll.modify(connection.fd, EPOLLIN | EPOLLOUT)

    def _make_request(self, connection: Connection) -> bytes:
        if self._exchange.server_speaks_first:
            return b""
        request, connection.reader = self._exchange.numbered_request()
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
        if data == self._last_answer and second is not None and connection.reader is None:
            self._answered(connection, second, KEEP)
        elif not data:
            self._peer_ended(connection, second)
        elif second is not None:
            self._parse(connection, second, data)
        elif not connection.closing and self._exchange.constant_answer:
            self.fail(connection, "protocol", f"received bytes without a request: {data[:40]!r}")

    def _parse(self, connection: Connection, second: Second, data: bytes) -> None:
        whole = connection.reader is None
        reader: Reader = connection.reader or self._exchange.reader()
        connection.reader = reader
        parts_before = len(reader.parts_received)
        outcome = self._outcome(connection, lambda: reader.feed(data))
        if outcome == FAILED:
            return
        if len(reader.parts_received) != parts_before:
            self._record_parts(connection, second, reader.parts_received[parts_before:])
        if outcome is None:
            self._request_next_part(connection, reader)
            return
        if whole and outcome == KEEP and self._exchange.constant_answer:
            self._last_answer = data
        self._answered(connection, second, outcome)

    def _record_parts(self, connection: Connection, second: Second, names: Sequence[str]) -> None:
        sent_s = max(connection.sent_s, connection.part_sent_s)
        for name in names:
            record(second.parts.setdefault(name, {}), self.now_s - sent_s)

    def _request_next_part(self, connection: Connection, reader: Reader) -> None:
        request = reader.next_request()
        if request:
            connection.part_sent_s = monotonic()
            connection.unsent += request
            self._write_unsent(connection)

    def _outcome(self, connection: Connection, read: Callable[[], str | None]) -> str | None:
        """Return the outcome of a reader's call; FAILED if it raised, and the request has failed with it."""
        try:
            return read()
        except ProtocolError as error:
            self.fail(connection, "protocol", str(error))
        except WrongAnswerError as error:
            self.fail(connection, "wrong_answer", str(error))
        return FAILED

    def _peer_ended(self, connection: Connection, second: Second | None) -> None:
        if connection.closing:
            self.pool.close(connection)
            return
        if second is None:
            self.fail(connection, "idle_closed", "the server closed an idle connection")
            return
        reader = connection.reader
        outcome = self._outcome(connection, reader.eof) if reader is not None else None
        if outcome is None:
            self.fail(connection, "closed", "the server closed before its answer was complete")
        elif outcome != FAILED:
            self._answered(connection, second, outcome)

    def _answered(self, connection: Connection, second: Second, outcome: str) -> None:
        now_s, sent_s = self.now_s, connection.sent_s
        del self.in_flight[connection]
        self.area.ended(sent_s, now_s)
        connection.second = connection.reader = None
        connection.answered, connection.failures = True, 0
        second.answered += 1
        second.response[int((now_s - connection.intended_s) * 1e6)] += 1
        second.service[int((now_s - sent_s) * 1e6)] += 1
        if outcome == KEEP and self.pool.reuses:
            self.load.add_idle(connection, now_s)
        elif self.pool.has_surplus():
            self.pool.close_surplus(connection)
        else:
            self._end_connection(connection)

    def _end_connection(self, connection: Connection) -> None:
        final_bytes = self._exchange.final_bytes
        if final_bytes:
            try:
                self._bytes_out += os.write(connection.fd, final_bytes)
            except OSError as error:
                self._count_error(connection, error_kind(error, connecting=False), str(error))
        self.pool.retire(connection, self.now_s, linger=self._exchange.server_closes)

    def _writable(self, connection: Connection) -> None:
        if connection.socket is not None:
            self.pool.finish_connect(connection)
        else:
            self._write_unsent(connection)

    def _write_unsent(self, connection: Connection) -> None:
        try:
            written = os.write(connection.fd, connection.unsent)
        except BlockingIOError:
            return
        except OSError as error:
            self.fail(connection, error_kind(error, connecting=False), str(error))
            return
        self._bytes_out += written
        connection.unsent = connection.unsent[written:]
        self._epoll.modify(connection.fd, EPOLLIN | EPOLLOUT if connection.unsent else EPOLLIN)

    # -- called by the pool

    def connected(self, connection: Connection) -> None:
        """Use a connection that has just opened."""
        second = self.seconds.at(self.now_s)
        second.connects += 1
        record(second.connect, self.now_s - connection.sent_s)
        if connection.second is None:
            self._offer(connection)
        elif connection.unsent:
            self._write_unsent(connection)

    def _offer(self, connection: Connection) -> None:
        if self.pool.has_surplus():
            self.pool.close_surplus(connection)
        elif not connection.stays_idle:
            self.load.add_idle(connection, self.now_s)

    def take_idle(self) -> Connection | None:
        """Return an idle connection to the pool, if there is one."""
        return self.load.take_idle()

    def slot_ready(self, connection: Connection) -> None:
        """Give an unconnected user to the load; its connection is opened by its request."""
        self.load.add_idle(connection, self.now_s)

    def fail(self, connection: Connection, kind: str, message: str) -> None:
        """Count an error, close its connection and fail the request in flight, if any."""
        self._count_error(connection, kind, message)
        second = connection.second
        unused = second is None
        if second is not None:
            now_s = monotonic()
            second.failed += 1
            record(second.response_censored, now_s - connection.intended_s)
            record(second.service_censored, now_s - connection.sent_s)
            connection.second = None
            del self.in_flight[connection]
            self.area.ended(connection.sent_s, max(connection.sent_s, self.now_s))
        self.pool.drop(connection, self.now_s, unused=unused)

    def _count_error(self, connection: Connection, kind: str, message: str) -> None:
        second = connection.second or self.seconds.at(self.now_s)
        second.errors[kind] = second.errors.get(kind, 0) + 1
        self.faults.add(kind, message, self.now_s)

    # -- phases

    def start_load(self, load: LoadProcess) -> None:
        """Start a load with the connections that are open so far."""
        gathered = self.load.gathered if isinstance(self.load, NoLoad) else []
        self.load = load
        self.area.open_window(self.seconds.opens_s, self.seconds.closes_s)
        for connection in gathered:
            if not connection.closed:
                load.add_idle(connection, monotonic())

    def end_drain(self) -> None:
        """End the drain: requests in flight fail as unanswered, queued arrivals count as unsent."""
        self.load.drop_queue(monotonic())
        for connection in list(self.in_flight):
            self.fail(connection, "unanswered", "still in flight when the drain ended")

    def end_load(self) -> None:
        """Close the last second: no more answers will come."""
        self._ends.close(self.in_flight, self.load)

    def is_drained(self) -> bool:
        """Whether nothing is in flight and nothing more will be sent."""
        return not self.in_flight and not self.load.queued() and math.isinf(self.load.next_due_s)
