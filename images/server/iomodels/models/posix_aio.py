"""Asynchronous I/O of POSIX: aio_read(3), and a signal at its completion.

aio_read returns at once, with or without data, and reports later that the data *is in the buffer*: this is
the asynchronous model of the book. Multiplexing reports only that a read will not block. Each connection has
one operation in flight: a read, then the write of the answer, then the next read. The completion of an
operation raises a real-time signal that carries the descriptor (`sigev_value`), and the loop takes one after
the other from the queue (sigtimedwait(2)), as in ``sigio_tcp.py``. POSIX has no aio_accept, so the listener
raises a signal as in that model.

On Linux the GNU C library does the operations in user space, with a pool of threads that make blocking calls.
The read of an idle connection holds a thread, which sleeps in read(2). So the model costs as much as a thread
per connection, plus a queue with a lock, plus a signal. When all threads sleep, further operations wait for a
thread: a read that has data waits behind reads that have none. So this server accepts as many connections as
there are threads (option `threads`) and refuses further ones.

See aio(7), aio_read(3), aio_init(3), sigevent(3type); UNIX Network Programming 1, §6.2.

Traps: the library runs the operations on one descriptor one after the other, so a write behind a read that
waits would wait too (or needs a dup(2)). The socket has to stay blocking, or a read without data completes at
once with EAGAIN. The library tries pread(2) first, which fails on a socket (ESPIPE): two system calls per
read. If the queue of signals is full, a completion is not reported, and the library replaces its result by
the EAGAIN of sigqueue(3): the bytes have been moved, but the program cannot know how many. So this server
uses at most half of the queue, checks the operations themselves twice a second, and closes a connection whose
result is lost.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import time
from collections import deque

from iomodels.listen import (
    ACCEPT_PAUSE_S,
    DRAIN_S,
    Acceptor,
    Listener,
    close_all,
    shutdown_fd,
    shutdown_reads,
)
from iomodels.native import aio
from iomodels.native.aio import Operation
from iomodels.native.sigio import SignalInfo, Signals, enable_signals
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

LISTENER_SIGNAL = signal.SIGRTMIN + 1
AIO_SIGNAL = signal.SIGRTMIN + 2
BUFFER_BYTES = 16384
CHECK_S = 0.5  # how often operations are checked for completions without a signal
QUEUE_FULL = "the queue of signals was full: every operation is checked"
RESULT_LOST = "the queue of signals was full and the result of an operation is lost: its connection is closed"


def require() -> None:
    """Check that the C library has POSIX aio.

    Raises:
        MissingFeature: it has not.
    """
    aio.require()


def serve(listener: Listener, new_session: SessionFactory) -> None:
    """Serve all connections from one thread (and the library's) until the listener is stopped."""
    Server(listener, new_session).run()


class Connection:
    """One connection: its session, its unsent output, and its operation."""

    __slots__ = ("fd", "interest", "operation", "queue", "session", "unreported")

    def __init__(self, fd: int, session: Session) -> None:
        os.set_blocking(fd, True)
        self.fd = fd
        self.session = session
        self.operation = Operation(fd, AIO_SIGNAL, BUFFER_BYTES)
        self.queue: deque[Effect] = deque()
        self.interest = READ
        self.unreported = False  # at the last check its operation had completed without a signal


class Server:
    """One thread, one queue of signals, and the library's thread pool."""

    def __init__(self, listener: Listener, new_session: SessionFactory) -> None:
        self.new_session = new_session
        self.counters = STATS.new_counters()
        self.acceptor = Acceptor(listener, self.counters)
        self.listener_fd = listener.fileno()
        self.timers: Timers[Connection] = Timers()
        self.connections: dict[int, Connection] = {}
        self.max_connections = min(
            int(listener.options["threads"]), resource.getrlimit(resource.RLIMIT_SIGPENDING)[0] // 2
        )
        aio.set_max_threads(self.max_connections)
        self.next_check = 0.0
        self.signals = Signals(LISTENER_SIGNAL, AIO_SIGNAL, signal.SIGIO)
        enable_signals(self.listener_fd, LISTENER_SIGNAL)

    def run(self) -> None:
        """Take a signal, and start the next operation of its connection, again and again."""
        self.accept()
        while not self.acceptor.finished(self.connections):
            info = self.signals.wait(self.timeout_s())
            self.counters.wakeups += 1
            if info is not None:
                self.counters.ready += 1
                self.counters.signals += 1
                self.on_signal(info)
            for connection in self.timers.due():
                if connection is not None:
                    self.run_effects(connection, connection.session.resumed())
                elif not self.acceptor.stopped:
                    self.accept()
            if time.monotonic() >= self.next_check:
                self.check_operations()
        for fd in self.connections:
            shutdown_fd(fd, socket.SHUT_RDWR)  # ends the blocking calls of the library's threads
        close_all(self.connections, self.counters)

    def on_signal(self, info: SignalInfo) -> None:
        """Handle one signal."""
        if info.number == AIO_SIGNAL and info.fd in self.connections:
            self.on_complete(self.connections[info.fd])
        elif info.number == LISTENER_SIGNAL and not self.acceptor.stopped:
            self.accept()
        elif info.number == signal.SIGIO:  # the queue was full: any operation may have completed
            STATS.signal_overflow(self.counters, QUEUE_FULL)
            if not self.acceptor.stopped:
                self.accept()
            for connection in list(self.connections.values()):
                self.on_complete(connection)

    def timeout_s(self) -> float | None:
        """Return how long to sleep: until the next timer, or the next check if operations are in flight."""
        timeout_s = self.timers.timeout_s()
        if not self.connections:
            return timeout_s
        return CHECK_S if timeout_s is None else min(timeout_s, CHECK_S)

    def check_operations(self) -> None:
        """Take the results of operations that had completed at the last check: their signals are lost."""
        self.next_check = time.monotonic() + CHECK_S
        for connection in list(self.connections.values()):
            if connection.unreported:
                self.on_complete(connection)
            else:
                connection.unreported = connection.interest != PAUSED and connection.operation.is_done()

    def accept(self) -> None:
        """Accept until EAGAIN, and refuse connections for which there is no thread."""
        for fd, address in self.acceptor.accept_all():
            if len(self.connections) >= self.max_connections:
                STATS.error("refused_limit", f"all {self.max_connections} threads are in use: refused")
                close_all([fd], self.counters)
                continue
            connection = self.connections[fd] = Connection(fd, self.new_session(address))
            self.run_effects(connection, connection.session.opened())
        self.counters.update_open_peak(len(self.connections))
        if self.acceptor.paused or self.acceptor.stopped:
            self.timers.add(DRAIN_S if self.acceptor.stopped else ACCEPT_PAUSE_S, None)
        if self.acceptor.stopped:
            shutdown_reads(self.connections)

    def on_complete(self, connection: Connection) -> None:
        """Take the result of the operation, if it has completed, and start the next one."""
        if connection.interest == PAUSED:
            return
        try:
            count = connection.operation.result()
        except BlockingIOError:  # from sigqueue(3), as the socket is a blocking one
            self.counters.overflows += 1
            STATS.error("refused_limit", RESULT_LOST)
            self.close(connection)
            return
        except OSError as error:
            STATS.connection_lost(error)
            self.close(connection)
            return
        if count is None:
            return
        connection.unreported = False
        self.counters.completions += 1
        if connection.interest == WRITE:
            self.counters.bytes_out += count
            remaining = connection.queue.popleft()
            assert isinstance(remaining, bytes)
            if count < len(remaining):
                connection.queue.appendleft(remaining[count:])
            self.start_next(connection)
        else:
            self.counters.bytes_in += count
            data = connection.operation.data(count)
            session = connection.session
            self.run_effects(connection, session.received(data) if data else session.eof())

    def run_effects(self, connection: Connection, effects: Effects) -> None:
        """Queue the effects and start the first."""
        connection.queue.extend(effects)
        self.start_next(connection)

    def start_next(self, connection: Connection) -> None:
        """Start the next operation: a write if output is queued, else a read."""
        if not connection.queue:
            self.count_answers(connection)
            connection.interest = READ
            connection.operation.read()
            return
        effect = connection.queue[0]
        if isinstance(effect, SendFile):
            effect = connection.queue[0] = os.pread(effect.fd, effect.length, effect.offset)
        if isinstance(effect, bytes):
            connection.interest = WRITE
            connection.operation.write(effect)
            return
        connection.queue.popleft()
        self.count_answers(connection)
        if isinstance(effect, Wait):
            connection.interest = PAUSED
            self.timers.add(effect.seconds, connection)
        elif isinstance(effect, Close):
            if effect.unread:
                discard_unread(connection.fd)
            self.close(connection)

    def count_answers(self, connection: Connection) -> None:
        """Count the answers as requests: all output before is written."""
        self.counters.requests += connection.session.answers
        connection.session.answers = 0

    def close(self, connection: Connection) -> None:
        """Close the connection; no operation is in flight, so its buffer may be freed."""
        del self.connections[connection.fd]
        connection.interest = CLOSED
        os.close(connection.fd)
        self.counters.closed += 1
