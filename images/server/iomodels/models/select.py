"""I/O multiplexing with select(2): the first multiplexer (4.2BSD, 1983).

Interest is a bit per descriptor, one set each to read, write and except. Every call copies the sets in, the
kernel tests every bit up to the highest descriptor, and copies the sets out, overwritten with the answer: so
the program builds them anew for every call and walks all its descriptors to find the set bits. (CPython does
that walking in C, from the two lists below.)

The sets have FD_SETSIZE bits: 1024 on Linux, fixed when the C library was built. The limit is on the number
of the descriptor, not on how many there are: descriptor 1024 cannot be watched even if it is the only one,
and in C writing its bit writes past the end of the set. This server refuses such a connection at once, which
is kinder than to accept what it can never serve, and goes on with the others.

See select(2), select_tut(2); UNIX Network Programming 1, §6.3.

Trap: an error or a hang-up shows as readable; select has no bit for it.
"""

from __future__ import annotations

import os
import select

from iomodels.listen import DRAIN_S, REST_S, Door, Listener, close_all, hang_up
from iomodels.session import GONE, READ, READ_BYTES, REST, WRITE, Effects, NewSession, Stream, Timers
from iomodels.stats import STATS

FD_SETSIZE = 1024


def serve(listener: Listener, new_session: NewSession) -> None:
    """Serve all connections from one thread until the listener is stopped."""
    Server(listener, new_session).run()


class Server:
    """One thread, two sets of descriptors."""

    def __init__(self, listener: Listener, new_session: NewSession) -> None:
        self.new_session = new_session
        self.cell = STATS.cell()
        self.door = Door(listener, self.cell)
        self.door_fd = listener.fileno()
        self.timers: Timers[Stream] = Timers()
        self.streams: dict[int, Stream] = {}
        self.readers = {self.door_fd}
        self.writers: set[int] = set()

    def run(self) -> None:
        """The loop: wait, then give each ready descriptor its turn."""
        cell, streams, door_fd = self.cell, self.streams, self.door_fd
        while not self.door.over(streams):
            readable, writable, _ = select.select(self.readers, self.writers, (), self.timers.timeout_s())
            cell.wakeups += 1
            cell.ready += len(readable) + len(writable)
            for fd in readable + writable:
                if fd == door_fd:
                    self.welcome()
                else:
                    self.turn(streams[fd])
            for stream in self.timers.due():
                if stream is not None:
                    self.act(stream, stream.session.resumed())
                elif not self.door.ended:
                    self.readers.add(door_fd)
        close_all(streams, cell)

    def welcome(self) -> None:
        """Accept whoever waits and whose number fits; leave a listener alone that is out of descriptors."""
        for fd, address in self.door.accept():
            if fd >= FD_SETSIZE:
                STATS.error(
                    "refused_limit", f"descriptor {fd} does not fit in a set of {FD_SETSIZE}: refused"
                )
                close_all([fd], self.cell)
                continue
            stream = self.streams[fd] = Stream(fd, self.new_session(address), self.cell)
            self.readers.add(fd)
            self.act(stream, stream.session.opened())
        self.cell.saw_open(len(self.streams))
        if self.door.resting or self.door.ended:
            self.readers.discard(self.door_fd)
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
            else:
                wish = stream.flush()
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
        """Change which set the descriptor is in: at most one."""
        stream.wish = wish
        fd = stream.fd
        self.readers.discard(fd)
        self.writers.discard(fd)
        if wish == READ:
            self.readers.add(fd)
        elif wish == WRITE:
            self.writers.add(fd)
        elif wish == REST:
            self.timers.add(stream.rest_s, stream)
        elif wish == GONE:
            del self.streams[fd]
            os.close(fd)
            self.cell.closed += 1
