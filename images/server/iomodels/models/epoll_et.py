"""I/O multiplexing with epoll(7), edge-triggered.

As in ``epoll_lt.py`` the kernel keeps the table and reports from its ready list. With EPOLLET a socket comes
off the list as soon as it has been reported, and goes back on only when something *happens*: new bytes, a
connection, room in a full send buffer, the peer's end. Not because something is still there.

So the program has to remember what it left behind. It asks for everything once (no epoll_ctl(2) ever again)
and pays with a read(2) that finds nothing after every burst: an edge is reported once, drain until EAGAIN or
this connection sleeps for ever. The same holds for the listener: several arrivals may share an edge.

Draining has a trap of its own: a peer that sends faster than we answer would never let go of the loop. After
`FAIR_READS` a stream goes to the back of the `unfinished` and the wait does not sleep until they are through
(epoll(7), "Starvation").

See epoll(7), "Level-triggered and edge-triggered" and "Questions and answers".

Trap: edges come while we do not read, because output is unsent or the session rests. They are not repeated:
when it is time to read again, read, without waiting for an event.
"""

from __future__ import annotations

import os
import select

from iomodels.listen import DRAIN_S, REST_S, Door, Listener, close_all, hang_up
from iomodels.session import GONE, READ, READ_BYTES, REST, WRITE, Effects, NewSession, Stream, Timers
from iomodels.stats import STATS

EVERYTHING = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
BROKEN = select.EPOLLERR | select.EPOLLHUP
FAIR_READS = 16


def serve(listener: Listener, new_session: NewSession) -> None:
    """Serve all connections from one thread until the listener is stopped."""
    Server(listener, new_session).run()


class Server:
    """One thread, one epoll set, every descriptor added once."""

    def __init__(self, listener: Listener, new_session: NewSession) -> None:
        self.new_session = new_session
        self.cell = STATS.cell()
        self.door = Door(listener, self.cell)
        self.door_fd = listener.fileno()
        self.timers: Timers[Stream] = Timers()
        self.streams: dict[int, Stream] = {}
        self.unfinished: dict[int, Stream] = {}  # broke off reading, in order
        self.epoll = select.epoll()
        self.epoll.register(self.door_fd, select.EPOLLIN | select.EPOLLET)

    def run(self) -> None:
        """The loop: wait, then drain each descriptor that something happened to."""
        cell, streams, door_fd = self.cell, self.streams, self.door_fd
        while not self.door.over(streams):
            events = self.epoll.poll(0 if self.unfinished else self.timers.timeout_s())
            cell.wakeups += 1
            cell.ready += len(events)
            again = list(self.unfinished.values())
            self.unfinished.clear()
            for fd, mask in events:
                if fd == door_fd:
                    self.welcome()
                else:
                    self.turn(streams[fd], mask)
            for stream in again:
                if stream.wish == READ:
                    self.drain(stream)
            for resting in self.timers.due():
                if resting is not None:
                    self.act(resting, resting.session.resumed())
                elif not self.door.ended:
                    self.welcome()  # its edge was spent when descriptors ran out
        close_all(streams, cell)
        self.epoll.close()

    def welcome(self) -> None:
        """Accept until nobody waits."""
        for fd, address in self.door.accept():
            stream = self.streams[fd] = Stream(fd, self.new_session(address), self.cell)
            self.epoll.register(fd, EVERYTHING)  # what has arrived already counts as an edge
            self.act(stream, stream.session.opened())
        self.cell.saw_open(len(self.streams))
        if self.door.resting or self.door.ended:
            self.timers.add(DRAIN_S if self.door.ended else REST_S, None)
        if self.door.ended:
            hang_up(self.streams)

    def turn(self, stream: Stream, mask: int) -> None:
        """Go on where this stream stands; an event it does not wait for now is caught up with later."""
        if stream.wish == READ:
            self.drain(stream)
        elif stream.wish == WRITE and mask & (select.EPOLLOUT | BROKEN):
            try:
                wish = stream.flush()
            except OSError as error:
                wish = stream.lost(error)
            self.follow(stream, wish)
        elif stream.wish == REST and mask & BROKEN:
            self.follow(stream, stream.lost())

    def drain(self, stream: Stream) -> None:
        """Read until EAGAIN, or until something else has to come first."""
        session, cell = stream.session, self.cell
        try:
            for _ in range(FAIR_READS):
                data = os.read(stream.fd, READ_BYTES)
                cell.bytes_in += len(data)
                wish = stream.perform(session.received(data) if data else session.ended())
                if wish != READ:
                    break
            else:
                self.unfinished[stream.fd] = stream
                return
        except BlockingIOError:
            cell.eagain += 1
            return
        except OSError as error:
            wish = stream.lost(error)
        self.follow(stream, wish)

    def act(self, stream: Stream, effects: Effects) -> None:
        """Carry out effects, then follow the stream's new wish."""
        try:
            wish = stream.perform(effects)
        except OSError as error:
            wish = stream.lost(error)
        if wish != stream.wish or wish == REST:  # one rest may follow another
            self.follow(stream, wish)

    def follow(self, stream: Stream, wish: int) -> None:
        """Note what comes next. The kernel is told nothing: it reports everything anyway."""
        stream.wish = wish
        if wish == READ:
            self.unfinished[stream.fd] = stream
        elif wish == REST:
            self.timers.add(stream.rest_s, stream)
        elif wish == GONE:
            del self.streams[stream.fd]
            self.unfinished.pop(stream.fd, None)
            os.close(stream.fd)
            self.cell.closed += 1
