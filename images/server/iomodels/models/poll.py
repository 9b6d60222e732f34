"""I/O multiplexing with poll(2).

The program keeps the list: an array of (descriptor, events, revents). Every call copies the array to the
kernel. The kernel tests each socket in turn; if none is ready, it adds the process to every wait queue, and
removes it from all of them before it returns. Then the program scans the array for the entries whose revents
are set. So the cost of a wait grows with the number of open connections, ready or not. (CPython's poll object
scans in C, and rebuilds its array only after a change.)

poll has two advantages over select(2): the array holds any descriptor number, and the output does not
overwrite the input.

See poll(2), select(2); UNIX Network Programming 1, §6.10.

Trap: POLLERR and POLLHUP are reported even if they are not requested, and poll is level-triggered. A reset
that arrives during a pause has to close the connection, or every following wait returns at once.
"""

from __future__ import annotations

import os
import select

from iomodels.listen import ACCEPT_PAUSE_S, DRAIN_S, Acceptor, Listener, close_all, shutdown_reads
from iomodels.session import CLOSED, PAUSED, READ, READ_BYTES, WRITE, Effects, SessionFactory, Stream, Timers
from iomodels.stats import STATS

EVENTS = {READ: select.POLLIN, WRITE: select.POLLOUT, PAUSED: 0}


def serve(listener: Listener, new_session: SessionFactory) -> None:
    """Serve all connections from one thread until the listener is stopped."""
    Server(listener, new_session).run()


class Server:
    """One thread, one array of descriptors."""

    def __init__(self, listener: Listener, new_session: SessionFactory) -> None:
        self.new_session = new_session
        self.counters = STATS.new_counters()
        self.acceptor = Acceptor(listener, self.counters)
        self.listener_fd = listener.fileno()
        self.timers: Timers[Stream] = Timers()
        self.streams: dict[int, Stream] = {}
        self.array = select.poll()
        self.array.register(self.listener_fd, select.POLLIN)

    def run(self) -> None:
        """Wait, then handle each ready descriptor, again and again."""
        counters, streams, listener_fd = self.counters, self.streams, self.listener_fd
        while not self.acceptor.finished(streams):
            timeout_s = self.timers.timeout_s()
            events = self.array.poll(None if timeout_s is None else timeout_s * 1000)
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
                    self.array.register(listener_fd, select.POLLIN)
        close_all(streams, counters)

    def accept(self) -> None:
        """Accept until EAGAIN; ignore the listener while descriptors have run out, or when it is stopped."""
        for fd, address in self.acceptor.accept_all():
            stream = self.streams[fd] = Stream(fd, self.new_session(address), self.counters)
            self.array.register(fd, select.POLLIN)
            self.run_effects(stream, stream.session.opened())
        self.counters.update_open_peak(len(self.streams))
        if self.acceptor.paused or self.acceptor.stopped:
            self.array.unregister(self.listener_fd)
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
            else:  # paused, no events requested: this is POLLERR or POLLHUP
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
            self.array.unregister(stream.fd)  # the list is ours: poll(2) would report POLLNVAL in every call
            os.close(stream.fd)
            self.counters.closed += 1
            return
        self.array.modify(stream.fd, EVENTS[interest])
        if interest == PAUSED:
            self.timers.add(stream.pause_s, stream)
