"""I/O multiplexing with select(2): the first multiplexer (4.2BSD, 1983).

Interest is a bit per descriptor, in one set each for read, write and except. Every call copies the sets to
the kernel, which tests every bit up to the highest descriptor, overwrites the sets with the result and copies
them back. So the program builds the sets again for every call, and tests all its descriptors to find the set
bits. (CPython does both in C, from `readers` and `writers` below.)

The sets have FD_SETSIZE bits: 1024 on Linux, fixed when the C library was built. The limit is on the number
of the descriptor, not on how many there are: select cannot watch descriptor 1024 even if it is the only one,
and in C, setting its bit writes past the end of the set. This server refuses such a connection at once, as it
could never serve it, and continues with the others.

See select(2), select_tut(2); UNIX Network Programming 1, §6.3.

Trap: select has no bit for an error or a hang-up; both show as readable.
"""

from __future__ import annotations

import os
import select

from iomodels.listen import ACCEPT_PAUSE_S, DRAIN_S, Acceptor, Listener, close_all, shutdown_reads
from iomodels.session import CLOSED, PAUSED, READ, READ_BYTES, WRITE, Effects, SessionFactory, Stream, Timers
from iomodels.stats import STATS

FD_SETSIZE = 1024


def serve(listener: Listener, new_session: SessionFactory) -> None:
    """Serve all connections from one thread until the listener is stopped."""
    Server(listener, new_session).run()


class Server:
    """One thread, two sets of descriptors."""

    def __init__(self, listener: Listener, new_session: SessionFactory) -> None:
        self.new_session = new_session
        self.counters = STATS.new_counters()
        self.acceptor = Acceptor(listener, self.counters)
        self.listener_fd = listener.fileno()
        self.timers: Timers[Stream] = Timers()
        self.streams: dict[int, Stream] = {}
        self.readers = {self.listener_fd}
        self.writers: set[int] = set()

    def run(self) -> None:
        """Wait, then handle each ready descriptor, again and again."""
        counters, streams, listener_fd = self.counters, self.streams, self.listener_fd
        while not self.acceptor.finished(streams):
            readable, writable, _ = select.select(self.readers, self.writers, (), self.timers.timeout_s())
            counters.wakeups += 1
            counters.ready += len(readable) + len(writable)
            for fd in readable + writable:
                if fd == listener_fd:
                    self.accept()
                else:
                    self.on_ready(streams[fd])
            for stream in self.timers.due():
                if stream is not None:
                    self.run_effects(stream, stream.session.resumed())
                elif not self.acceptor.stopped:
                    self.readers.add(listener_fd)
        close_all(streams, counters)

    def accept(self) -> None:
        """Accept until EAGAIN, and refuse descriptors that do not fit in a set."""
        for fd, address in self.acceptor.accept_all():
            if fd >= FD_SETSIZE:
                STATS.error(
                    "refused_limit", f"descriptor {fd} does not fit in a set of {FD_SETSIZE}: refused"
                )
                close_all([fd], self.counters)
                continue
            stream = self.streams[fd] = Stream(fd, self.new_session(address), self.counters)
            self.readers.add(fd)
            self.run_effects(stream, stream.session.opened())
        self.counters.update_open_peak(len(self.streams))
        if self.acceptor.paused or self.acceptor.stopped:
            self.readers.discard(self.listener_fd)
            self.timers.add(DRAIN_S if self.acceptor.stopped else ACCEPT_PAUSE_S, None)
        if self.acceptor.stopped:
            shutdown_reads(self.streams)

    def on_ready(self, stream: Stream) -> None:
        """Read once, or write what is unsent; what remains is reported again."""
        try:
            if stream.interest == READ:
                data = os.read(stream.fd, READ_BYTES)
                self.counters.bytes_in += len(data)
                interest = stream.run_effects(stream.session.received(data) if data else stream.session.eof())
            else:
                interest = stream.flush()
        except BlockingIOError:  # reported as ready, then dropped for a bad checksum (select(2), BUGS)
            self.counters.eagain += 1
            return
        except OSError as error:
            interest = stream.connection_lost(error)
        if interest != stream.interest:
            self.set_interest(stream, interest)

    def run_effects(self, stream: Stream, effects: Effects) -> None:
        """Carry out effects, and set the new interest."""
        try:
            interest = stream.run_effects(effects)
        except OSError as error:
            interest = stream.connection_lost(error)
        if interest != stream.interest or interest == PAUSED:  # a pause may follow a pause
            self.set_interest(stream, interest)

    def set_interest(self, stream: Stream, interest: int) -> None:
        """Move the descriptor to the set of its new interest; it is in one set at most."""
        stream.interest = interest
        fd = stream.fd
        self.readers.discard(fd)
        self.writers.discard(fd)
        if interest == READ:
            self.readers.add(fd)
        elif interest == WRITE:
            self.writers.add(fd)
        elif interest == PAUSED:
            self.timers.add(stream.pause_s, stream)
        elif interest == CLOSED:
            del self.streams[fd]
            os.close(fd)
            self.counters.closed += 1
