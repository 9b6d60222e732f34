"""I/O multiplexing with epoll(7), edge-triggered.

As in ``epoll_lt.py`` the kernel keeps the interest list and reports from its ready list. With EPOLLET a
socket leaves the ready list as soon as it is reported. It returns only with a new *event*: new bytes, a
connection, room in a full send buffer, the peer's end. Bytes that are still unread are no event.

So the program has to remember which sockets it has not finished. It requests all events once, and never calls
epoll_ctl(2) again. The price is one read(2) that returns EAGAIN after every burst: an edge is reported once,
so a program that does not read until EAGAIN may wait for ever. The same holds for the listener: one edge may
stand for several connections.

Reading until EAGAIN has its own trap: a peer that sends faster than we answer would keep the loop busy. After
`MAX_READS` reads a stream goes to the end of `unfinished`, and the wait does not block until the streams
there are done (epoll(7), "Starvation").

See epoll(7), "Level-triggered and edge-triggered" and "Questions and answers".

Trap: edges also arrive while this server does not read, because output is unsent or the session is paused.
The kernel does not repeat them: when reading is allowed again, read without waiting for an event.
"""

from __future__ import annotations

import os
import select

from iomodels.listen import ACCEPT_PAUSE_S, DRAIN_S, Acceptor, Listener, close_all, shutdown_reads
from iomodels.session import CLOSED, PAUSED, READ, READ_BYTES, WRITE, Effects, SessionFactory, Stream, Timers
from iomodels.stats import STATS

ALL_EVENTS = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
ERROR_EVENTS = select.EPOLLERR | select.EPOLLHUP
MAX_READS = 16


def serve(listener: Listener, new_session: SessionFactory) -> None:
    """Serve all connections from one thread until the listener is stopped."""
    Server(listener, new_session).run()


class Server:
    """One thread, one epoll set, every descriptor added once."""

    def __init__(self, listener: Listener, new_session: SessionFactory) -> None:
        self.new_session = new_session
        self.counters = STATS.new_counters()
        self.acceptor = Acceptor(listener, self.counters)
        self.listener_fd = listener.fileno()
        self.timers: Timers[Stream] = Timers()
        self.streams: dict[int, Stream] = {}
        self.unfinished: dict[int, Stream] = {}  # still to be read, in this order
        self.epoll = select.epoll()
        self.epoll.register(self.listener_fd, select.EPOLLIN | select.EPOLLET)

    def run(self) -> None:
        """Wait, then handle each descriptor that has an event, again and again."""
        counters, streams, listener_fd = self.counters, self.streams, self.listener_fd
        while not self.acceptor.finished(streams):
            events = self.epoll.poll(0 if self.unfinished else self.timers.timeout_s())
            counters.wakeups += 1
            counters.ready += len(events)
            continued = list(self.unfinished.values())
            self.unfinished.clear()
            for fd, mask in events:
                if fd == listener_fd:
                    self.accept()
                else:
                    self.on_ready(streams[fd], mask)
            for stream in continued:
                if stream.interest == READ:
                    self.drain(stream)
            for paused in self.timers.due():
                if paused is not None:
                    self.run_effects(paused, paused.session.resumed())
                elif not self.acceptor.stopped:
                    self.accept()  # its edge was reported when descriptors ran out
        close_all(streams, counters)
        self.epoll.close()

    def accept(self) -> None:
        """Accept until EAGAIN."""
        for fd, address in self.acceptor.accept_all():
            stream = self.streams[fd] = Stream(fd, self.new_session(address), self.counters)
            self.epoll.register(fd, ALL_EVENTS)  # bytes that have already arrived are an edge too
            self.run_effects(stream, stream.session.opened())
        self.counters.update_open_peak(len(self.streams))
        if self.acceptor.paused or self.acceptor.stopped:
            self.timers.add(DRAIN_S if self.acceptor.stopped else ACCEPT_PAUSE_S, None)
        if self.acceptor.stopped:
            shutdown_reads(self.streams)

    def on_ready(self, stream: Stream, mask: int) -> None:
        """Read or write, by the stream's interest; other events need nothing now."""
        if stream.interest == READ:
            self.drain(stream)
        elif stream.interest == WRITE and mask & (select.EPOLLOUT | ERROR_EVENTS):
            try:
                interest = stream.flush()
            except OSError as error:
                interest = stream.connection_lost(error)
            self.set_interest(stream, interest)
        elif stream.interest == PAUSED and mask & ERROR_EVENTS:
            self.set_interest(stream, stream.connection_lost())

    def drain(self, stream: Stream) -> None:
        """Read until EAGAIN, or until the interest is no longer READ."""
        session, counters = stream.session, self.counters
        try:
            for _ in range(MAX_READS):
                data = os.read(stream.fd, READ_BYTES)
                counters.bytes_in += len(data)
                interest = stream.run_effects(session.received(data) if data else session.eof())
                if interest != READ:
                    break
            else:
                self.unfinished[stream.fd] = stream
                return
        except BlockingIOError:
            counters.eagain += 1
            return
        except OSError as error:
            interest = stream.connection_lost(error)
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
        """Set the new interest. The kernel is not told: it reports all events anyway."""
        stream.interest = interest
        if interest == READ:
            self.unfinished[stream.fd] = stream
        elif interest == PAUSED:
            self.timers.add(stream.pause_s, stream)
        elif interest == CLOSED:
            del self.streams[stream.fd]
            self.unfinished.pop(stream.fd, None)
            os.close(stream.fd)
            self.counters.closed += 1
