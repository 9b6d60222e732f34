"""I/O multiplexing with epoll(7), level-triggered.

The kernel keeps the interest list. A descriptor is added once (epoll_ctl(2)), which puts a callback on the
socket's wait queue. When bytes arrive, the callback puts the socket on a ready list, and epoll_wait(2) copies
out that list and nothing else. So the cost of a wait grows with the number of ready descriptors, not of open
ones.

Level-triggered means that a socket stays on the ready list as long as the condition holds. So a server may
read once and continue: bytes that it has not read are reported again. A condition that the server does not
handle is also reported again and again. So this server requests EPOLLOUT only while output is unsent, no
event during a pause, and removes the listener from the set while descriptors have run out. Otherwise the loop
spins.

See epoll(7), epoll_ctl(2), epoll_wait(2); L. Gammo et al., Comparing and Evaluating epoll, select and poll
(2004).

Trap: EPOLLERR and EPOLLHUP are reported even if they are not requested. A reset that arrives during a pause,
or while output is unsent, has to close the connection, or every following wait returns at once.
"""

from __future__ import annotations

import os
import select

from iomodels.listen import ACCEPT_PAUSE_S, DRAIN_S, Acceptor, Listener, close_all, shutdown_reads
from iomodels.session import CLOSED, PAUSED, READ, READ_BYTES, WRITE, Effects, SessionFactory, Stream, Timers
from iomodels.stats import STATS

EVENTS = {READ: select.EPOLLIN, WRITE: select.EPOLLOUT, PAUSED: 0}


def serve(listener: Listener, new_session: SessionFactory) -> None:
    """Serve all connections from one thread until the listener is stopped."""
    Server(listener, new_session).run()


class Server:
    """One thread, one epoll set."""

    def __init__(self, listener: Listener, new_session: SessionFactory) -> None:
        self.new_session = new_session
        self.counters = STATS.new_counters()
        self.acceptor = Acceptor(listener, self.counters)
        self.listener_fd = listener.fileno()
        self.timers: Timers[Stream] = Timers()
        self.streams: dict[int, Stream] = {}
        self.epoll = select.epoll()
        self.epoll.register(self.listener_fd, select.EPOLLIN)

    def run(self) -> None:
        """Wait, then handle each ready descriptor, again and again."""
        counters, streams, listener_fd = self.counters, self.streams, self.listener_fd
        while not self.acceptor.finished(streams):
            events = self.epoll.poll(self.timers.timeout_s())
            counters.wakeups += 1
            counters.ready += len(events)
            for fd, _ in events:
                if fd == listener_fd:
                    self.accept()
                else:
                    self.on_ready(streams[fd])
            for stream in self.timers.due():
                if stream is not None:
                    self.run_effects(stream, stream.session.resumed())
                elif not self.acceptor.stopped:
                    self.epoll.register(listener_fd, select.EPOLLIN)
        close_all(streams, counters)
        self.epoll.close()

    def accept(self) -> None:
        """Accept until EAGAIN; ignore the listener while descriptors have run out, or when it is stopped."""
        for fd, address in self.acceptor.accept_all():
            stream = self.streams[fd] = Stream(fd, self.new_session(address), self.counters)
            self.epoll.register(fd, select.EPOLLIN)
            self.run_effects(stream, stream.session.opened())
        self.counters.update_open_peak(len(self.streams))
        if self.acceptor.paused or self.acceptor.stopped:
            self.epoll.unregister(self.listener_fd)
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
            elif stream.interest == WRITE:
                interest = stream.flush()
            else:  # paused, no events requested: this is EPOLLERR or EPOLLHUP
                interest = stream.connection_lost()
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
        """Change the events that the kernel reports for this descriptor."""
        stream.interest = interest
        if interest == CLOSED:
            del self.streams[stream.fd]
            os.close(stream.fd)  # removes it from the set too, as no other descriptor refers to this socket
            self.counters.closed += 1
            return
        self.epoll.modify(stream.fd, EVENTS[interest])
        if interest == PAUSED:
            self.timers.add(stream.pause_s, stream)
