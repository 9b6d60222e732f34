"""Asynchronous I/O of Linux, io_uring(7): the kernel does the operation and reports its completion.

There are two queues in shared memory. The program writes requests to one: accept here, receive there, send
these bytes. The kernel writes the results to the other. One system call, io_uring_enter(2), submits any
number of requests and returns any number of results: at a high load this is a fraction of a call per request,
where every other model here needs two or more.

The kernel reports completion, not readiness: the bytes are already in memory. So a receive needs its buffer
before there is anything to receive. One buffer for each of 10,000 idle connections would be waste: so here
the kernel takes a buffer from a common pool when data arrives (provided buffers). A request may also be
*multishot*: one accept returns every connection, one receive returns all data, until a completion without the
MORE flag ends the request: because the pool is empty, because of an error, because it was cancelled.

Unlike in ``posix_aio.py`` no thread is hidden here: the kernel polls a socket that is not ready.

See io_uring(7), io_uring_enter(2), io_uring_multishot(7), io_uring_provided_buffers(7); J. Axboe, Efficient
IO with io_uring (2019).

Traps: a request in flight keeps the socket open: after close(2) alone the peer sees no end, so cancel the
receive first. A multishot receive continues while we are busy: what arrives meanwhile is kept in `inbox`, and
the receive is cancelled when `inbox` is full. A completed send may be short: send the remaining bytes. And an
accept request reads RLIMIT_NOFILE when it is submitted: a multishot accept does not notice a later change.
"""

from __future__ import annotations

import errno
import os
import socket
from collections import deque

from iomodels.listen import ACCEPT_PAUSE_S, DRAIN_S, OUT_OF_RESOURCES, Listener, shutdown_reads
from iomodels.native import uring
from iomodels.native.uring import MORE, Ring
from iomodels.session import (
    CLOSED,
    PAUSED,
    READ,
    WRITE,
    Close,
    Effect,
    Effects,
    SendFile,
    Session,
    SessionFactory,
    Timers,
    Wait,
    discard_unread,
)
from iomodels.stats import STATS

ENTRIES, COMPLETIONS = 1024, 16384
BUFFERS, BUFFER_BYTES = 1024, 4096
INBOX_BYTES = 65536
ACCEPT, RECEIVE, SEND, CANCEL = range(4)  # low bits of a tag; the high bits are the connection's number
LISTENER = 0  # the number in the tag of an accept


def require() -> None:
    """Check that the kernel has io_uring and the container may use it.

    Raises:
        MissingFeature: one of the two is not so.
    """
    uring.require()


def serve(listener: Listener, new_session: SessionFactory) -> None:
    """Serve all connections from one thread until the listener is stopped."""
    Server(listener, new_session).run()


class Connection:
    """One connection: its session, received data that is not processed yet, and unsent output."""

    __slots__ = ("at_eof", "fd", "inbox", "inbox_bytes", "interest", "number", "offset", "queue", "receiving",
                 "sending", "session")  # fmt: skip

    def __init__(self, number: int, fd: int, session: Session) -> None:
        self.number = number
        self.fd = fd
        self.session = session
        self.interest = READ
        self.queue: deque[Effect] | None = None
        self.inbox: deque[bytes] | None = None
        self.inbox_bytes = 0
        self.at_eof = False  # EOF was received, and the session does not know yet
        self.receiving = False
        self.sending: bytes | None = None
        self.offset = 0


class Server:
    """One thread, one ring."""

    def __init__(self, listener: Listener, new_session: SessionFactory) -> None:
        self.listener = listener
        self.new_session = new_session
        self.counters = STATS.new_counters()
        self.timers: Timers[Connection] = Timers()
        self.connections: dict[int, Connection] = {}
        self.last_number = LISTENER
        self.stopped = self.drained = False
        self.ring = Ring(ENTRIES, COMPLETIONS, BUFFERS, BUFFER_BYTES)
        self.ring.accept(listener.fileno(), LISTENER << 2 | ACCEPT)

    def run(self) -> None:
        """Submit requests and handle completions, again and again."""
        counters, connections = self.counters, self.connections
        while not self.stopped or (connections and not self.drained):
            completions = self.ring.wait(self.timers.timeout_s())
            counters.wakeups += 1
            counters.ready += len(completions)
            counters.completions += len(completions)
            for tag, result, flags in completions:
                kind = tag & 3
                if kind == RECEIVE:
                    self.on_receive(connections[tag >> 2], result, flags)
                elif kind == SEND:
                    self.on_send(connections[tag >> 2], result)
                elif kind == ACCEPT:
                    self.on_accept(result, flags)
            counters.update_open_peak(len(connections))
            for connection in self.timers.due():
                if connection is not None:
                    self.run_effects(connection, connection.session.resumed())
                elif self.stopped:
                    self.drained = True
                else:
                    self.ring.accept(self.listener.fileno(), LISTENER << 2 | ACCEPT)
        for connection in connections.values():
            os.close(connection.fd)
            counters.closed += 1
        self.ring.close()

    def on_accept(self, result: int, flags: int) -> None:
        """Take a new connection, or the reason why there is none."""
        if result >= 0:
            self.counters.accepted += 1
            self.last_number += 1
            connection = Connection(self.last_number, result, self.new_session(peer_address(result)))
            self.connections[connection.number] = connection
            self.run_effects(connection, connection.session.opened())
        if flags & MORE:
            return
        if self.listener.stopping or result == -errno.EINVAL:
            self.stopped = True
            self.timers.add(DRAIN_S, None)
            shutdown_reads(connection.fd for connection in self.connections.values())
        elif -result in OUT_OF_RESOURCES:
            STATS.error("emfile", f"accept: {os.strerror(-result)}; accepting again in {ACCEPT_PAUSE_S} s")
            self.timers.add(ACCEPT_PAUSE_S, None)
        else:
            if result < 0:
                STATS.error("aborted")
            self.ring.accept(self.listener.fileno(), LISTENER << 2 | ACCEPT)

    def on_receive(self, connection: Connection, result: int, flags: int) -> None:
        """Take data, EOF, or the reason why the receive has ended."""
        connection.receiving = bool(flags & MORE)
        data = self.ring.take_buffer(result, flags) if flags & uring.BUFFER else b""
        if connection.interest == CLOSED:
            self.close_when_idle(connection)
            return
        if data:
            self.counters.bytes_in += len(data)
            if connection.interest == READ:  # nearly always: nothing is to be done first
                self.run_effects(connection, connection.session.received(data))
                return
            connection.inbox = connection.inbox or deque()
            connection.inbox.append(data)
            connection.inbox_bytes += len(data)
        elif result == 0:
            connection.at_eof = True
        elif result not in (-errno.ENOBUFS, -errno.ECANCELED):
            STATS.connection_lost(OSError(-result, os.strerror(-result)))
            self.close(connection)
            return
        if connection.interest == READ:
            self.advance(connection)
        elif connection.inbox_bytes > INBOX_BYTES and connection.receiving:
            self.ring.cancel(connection.number << 2 | RECEIVE, connection.number << 2 | CANCEL)

    def on_send(self, connection: Connection, result: int) -> None:
        """Send the remaining bytes, or advance if the kernel has taken all."""
        data, connection.sending = connection.sending, None
        if connection.interest == CLOSED:
            self.close_when_idle(connection)
            return
        if result < 0:
            STATS.connection_lost(OSError(-result, os.strerror(-result)))
            self.close(connection)
            return
        self.counters.bytes_out += result
        connection.offset += result
        assert data is not None
        if connection.offset < len(data):
            connection.sending = data
            self.ring.send(connection.fd, data, connection.offset, connection.number << 2 | SEND)
        else:
            self.advance(connection)

    def run_effects(self, connection: Connection, effects: Effects) -> None:
        """Queue the effects and start the first."""
        if len(effects) == 1:
            self.start_effect(connection, effects[0])
            return
        if effects:
            connection.queue = deque(effects)
        self.advance(connection)

    def advance(self, connection: Connection) -> None:
        """Do the next step: start a queued effect, else process received data, else receive."""
        session = connection.session
        while True:
            if connection.queue:
                self.start_effect(connection, connection.queue.popleft())
                return
            connection.queue = None
            self.count_answers(connection)
            if connection.inbox:
                data = connection.inbox.popleft()
                connection.inbox_bytes -= len(data)
                connection.queue = deque(session.received(data))
            elif connection.at_eof:
                connection.at_eof = False
                connection.queue = deque(session.eof())
            else:
                connection.inbox = None
                connection.interest = READ
                if not connection.receiving:
                    connection.receiving = True
                    self.ring.receive(connection.fd, connection.number << 2 | RECEIVE)
                return

    def start_effect(self, connection: Connection, effect: Effect) -> None:
        """Start one effect; its completion or its timer calls `advance`."""
        if isinstance(effect, SendFile):
            effect = os.pread(effect.fd, effect.length, effect.offset)
        if isinstance(effect, bytes):
            connection.interest, connection.sending, connection.offset = WRITE, effect, 0
            self.ring.send(connection.fd, effect, 0, connection.number << 2 | SEND)
        elif isinstance(effect, Wait):
            self.count_answers(connection)
            connection.interest = PAUSED
            self.timers.add(effect.seconds, connection)
        elif isinstance(effect, Close):
            self.count_answers(connection)
            if effect.unread:
                discard_unread(connection.fd)
            self.close(connection)

    def count_answers(self, connection: Connection) -> None:
        """Count the answers as requests: all output before is sent."""
        self.counters.requests += connection.session.answers
        connection.session.answers = 0

    def close(self, connection: Connection) -> None:
        """Cancel the receive, and close when nothing is in flight."""
        connection.interest = CLOSED
        if connection.receiving:
            self.ring.cancel(connection.number << 2 | RECEIVE, connection.number << 2 | CANCEL)
        self.close_when_idle(connection)

    def close_when_idle(self, connection: Connection) -> None:
        """Close if nothing is in flight: until then the kernel may use our memory."""
        if not connection.receiving and connection.sending is None:
            os.close(connection.fd)
            del self.connections[connection.number]
            self.counters.closed += 1


def peer_address(fd: int) -> tuple[str, int]:
    """Return the peer's address, which a multishot accept does not return."""
    borrowed = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=fd)
    try:
        host, port = borrowed.getpeername()
    except OSError as error:
        if error.errno != errno.ENOTCONN:
            raise
        return "?", 0  # the peer has already reset the connection
    finally:
        borrowed.detach()
    return host, port
