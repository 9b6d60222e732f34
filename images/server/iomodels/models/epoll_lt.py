"""I/O multiplexing with epoll(7), level-triggered.

The kernel keeps the table of interest: a descriptor is added once (epoll_ctl(2)) and hangs a callback on
the socket's wait queue. When bytes arrive, the callback puts the socket on a ready list; epoll_wait(2)
hands out that list and nothing else. So a wait costs what is ready, not what is open, and only the ready
events are copied.

Level-triggered means that a socket stays on the list as long as the condition holds. A server may therefore
read once and go on: what it left behind is reported again. It also means that a condition that it does not
attend to is reported for ever: so WRITE is asked for only while output is unsent, nothing at all while the
session rests, and the listener is taken out when descriptors have run out. Without that the loop spins.

See epoll(7), epoll_ctl(2), epoll_wait(2); L. Gammo et al., Comparing and Evaluating epoll, select and poll
(2004).

Trap: EPOLLERR and EPOLLHUP are reported whether asked for or not. A reset that arrives while we wait to
write or rest has to close the connection, or it comes back at every wait.
"""

from __future__ import annotations

import os
import select

from iomodels.listen import DRAIN_S, REST_S, Door, Listener, close_all, hang_up
from iomodels.session import GONE, READ, READ_BYTES, REST, WRITE, Effects, NewSession, Stream, Timers
from iomodels.stats import STATS

INTEREST = {READ: select.EPOLLIN, WRITE: select.EPOLLOUT, REST: 0}


def serve(listener: Listener, new_session: NewSession) -> None:
    """Serve all connections from one thread until the listener is stopped."""
    Server(listener, new_session).run()


class Server:
    """One thread, one epoll set."""

    def __init__(self, listener: Listener, new_session: NewSession) -> None:
        self.new_session = new_session
        self.cell = STATS.cell()
        self.door = Door(listener, self.cell)
        self.door_fd = listener.fileno()
        self.timers: Timers[Stream] = Timers()
        self.streams: dict[int, Stream] = {}
        self.epoll = select.epoll()
        self.epoll.register(self.door_fd, select.EPOLLIN)

    def run(self) -> None:
        """The loop: wait, then give each ready descriptor its turn."""
        cell, streams, door_fd = self.cell, self.streams, self.door_fd
        while not self.door.over(streams):
            events = self.epoll.poll(self.timers.timeout_s())
            cell.wakeups += 1
            cell.ready += len(events)
            for fd, _ in events:
                if fd == door_fd:
                    self.welcome()
                else:
                    self.turn(streams[fd])
            for stream in self.timers.due():
                if stream is not None:
                    self.act(stream, stream.session.resumed())
                elif not self.door.ended:
                    self.epoll.register(door_fd, select.EPOLLIN)
        close_all(streams, cell)
        self.epoll.close()

    def welcome(self) -> None:
        """Accept whoever waits; leave a listener alone that cannot be accepted from."""
        for fd, address in self.door.accept():
            stream = self.streams[fd] = Stream(fd, self.new_session(address), self.cell)
            self.epoll.register(fd, select.EPOLLIN)
            self.act(stream, stream.session.opened())
        self.cell.saw_open(len(self.streams))
        if self.door.resting or self.door.ended:
            self.epoll.unregister(self.door_fd)
            self.timers.add(DRAIN_S if self.door.ended else REST_S, None)
        if self.door.ended:
            hang_up(self.streams)

    def turn(self, stream: Stream) -> None:
        """Read once, or write on; what is left is reported again."""
        try:
            if stream.wish == READ:
                data = os.read(stream.fd, READ_BYTES)
                self.cell.bytes_in += len(data)
                wish = stream.perform(stream.session.received(data) if data else stream.session.ended())
            elif stream.wish == WRITE:
                wish = stream.flush()
            else:  # it rests and asked for nothing: only EPOLLERR or EPOLLHUP can bring it here
                wish = stream.lost()
        except BlockingIOError:  # reported, then dropped for a bad checksum (select(2), BUGS)
            self.cell.eagain += 1
            return
        except OSError as error:
            wish = stream.lost(error)
        if wish != stream.wish:
            self.follow(stream, wish)

    def act(self, stream: Stream, effects: Effects) -> None:
        """Carry out effects and follow the stream's new wish."""
        try:
            wish = stream.perform(effects)
        except OSError as error:
            wish = stream.lost(error)
        if wish != stream.wish or wish == REST:  # one rest may follow another
            self.follow(stream, wish)

    def follow(self, stream: Stream, wish: int) -> None:
        """Change what the kernel is asked to report."""
        stream.wish = wish
        if wish == GONE:
            del self.streams[stream.fd]
            os.close(stream.fd)  # takes it out of the set too: no other descriptor shares this socket
            self.cell.closed += 1
            return
        self.epoll.modify(stream.fd, INTEREST[wish])
        if wish == REST:
            self.timers.add(stream.rest_s, stream)
