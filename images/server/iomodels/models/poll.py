"""I/O multiplexing with poll(2).

The program keeps the table: an array of (descriptor, events, revents). Every call copies it into the kernel,
the kernel asks each socket in turn, hangs the process on each wait queue if none is ready, and takes it off
all of them again before it returns. Then the program walks the array once more to find whose revents are set.
So the cost of a wait grows with the connections that are open, whether or not they say anything. (CPython's
poll object does that last walk in C, and rebuilds its array only after a change.)

What poll has over select(2): the array holds any descriptor number, and the input is not overwritten by the
output.

See poll(2), select(2); UNIX Network Programming 1, §6.10.

Trap: POLLERR and POLLHUP are reported whether asked for or not, and poll is level-triggered: a reset that
arrives while we rest has to close the connection, or it comes back at every wait.
"""

from __future__ import annotations

import os
import select

from iomodels.listen import DRAIN_S, REST_S, Door, Listener, close_all, hang_up
from iomodels.session import GONE, READ, READ_BYTES, REST, WRITE, Effects, NewSession, Stream, Timers
from iomodels.stats import STATS

INTEREST = {READ: select.POLLIN, WRITE: select.POLLOUT, REST: 0}


def serve(listener: Listener, new_session: NewSession) -> None:
    """Serve all connections from one thread until the listener is stopped."""
    Server(listener, new_session).run()


class Server:
    """One thread, one array of descriptors."""

    def __init__(self, listener: Listener, new_session: NewSession) -> None:
        self.new_session = new_session
        self.cell = STATS.cell()
        self.door = Door(listener, self.cell)
        self.door_fd = listener.fileno()
        self.timers: Timers[Stream] = Timers()
        self.streams: dict[int, Stream] = {}
        self.array = select.poll()
        self.array.register(self.door_fd, select.POLLIN)

    def run(self) -> None:
        """The loop: wait, then give each ready descriptor its turn."""
        cell, streams, door_fd = self.cell, self.streams, self.door_fd
        while not self.door.over(streams):
            timeout_s = self.timers.timeout_s()
            events = self.array.poll(None if timeout_s is None else timeout_s * 1000)
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
                    self.array.register(door_fd, select.POLLIN)
        close_all(streams, cell)

    def welcome(self) -> None:
        """Accept whoever waits; leave a listener alone that cannot be accepted from."""
        for fd, address in self.door.accept():
            stream = self.streams[fd] = Stream(fd, self.new_session(address), self.cell)
            self.array.register(fd, select.POLLIN)
            self.act(stream, stream.session.opened())
        self.cell.saw_open(len(self.streams))
        if self.door.resting or self.door.ended:
            self.array.unregister(self.door_fd)
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
            else:  # it rests and asked for nothing: only POLLERR or POLLHUP can bring it here
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
            self.array.unregister(stream.fd)  # the table is ours: the kernel would say POLLNVAL for ever
            os.close(stream.fd)
            self.cell.closed += 1
            return
        self.array.modify(stream.fd, INTEREST[wish])
        if wish == REST:
            self.timers.add(stream.rest_s, stream)
