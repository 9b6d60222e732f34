"""Non-blocking I/O: the polling loop.

With O_NONBLOCK a call that would have to wait returns at once with EAGAIN. So the program never waits, it
asks: the listener, then every connection, one read(2) each, round after round. Whatever is there is found
within a round. The price is that nothing ever sleeps: an idle server makes as many system calls as it can,
and with 10,000 connections a round is 10,000 calls that find nothing.

The option `idle_sleep` puts a sleep into rounds that found nothing, and trades the CPU for latency: up to one
sleep per answer. Its default is 0.

See fcntl(2), O_NONBLOCK in open(2), EAGAIN in read(2); UNIX Network Programming 1, §16.

Trap: a list must not lose members while it is walked: each removal skips a neighbour. This loop walks a copy.
"""

from __future__ import annotations

import os
import time

from iomodels.listen import DRAIN_S, REST_S, Door, Listener, close_all, hang_up
from iomodels.session import GONE, READ, READ_BYTES, REST, WRITE, Effects, NewSession, Stream, Timers
from iomodels.stats import STATS
from iomodels.units import seconds


def serve(listener: Listener, new_session: NewSession) -> None:
    """Serve all connections from one thread until the listener is stopped."""
    Server(listener, new_session).run()


class Server:
    """One thread that keeps asking."""

    def __init__(self, listener: Listener, new_session: NewSession) -> None:
        self.new_session = new_session
        self.cell = STATS.cell()
        self.door = Door(listener, self.cell)
        self.door_open = True
        self.idle_sleep_s = seconds(listener.options["idle_sleep"])
        self.timers: Timers[Stream] = Timers()
        self.streams: dict[int, Stream] = {}

    def run(self) -> None:
        """The loop: ask everybody, again and again."""
        cell, streams = self.cell, self.streams
        while not self.door.over(streams):
            found = self.welcome() if self.door_open else 0
            for stream in list(streams.values()):
                if stream.wish != REST:
                    found += self.turn(stream)
            for resting in self.timers.due():
                if resting is not None:
                    self.act(resting, resting.session.resumed())
                elif not self.door.ended:
                    self.door_open = True
            cell.wakeups += 1
            cell.ready += found
            if not found and self.idle_sleep_s:
                time.sleep(self.idle_sleep_s)
        close_all(streams, cell)

    def welcome(self) -> int:
        """Accept whoever waits; return how many. Leave a listener alone that cannot be accepted from."""
        before = self.cell.accepted
        for fd, address in self.door.accept():
            stream = self.streams[fd] = Stream(fd, self.new_session(address), self.cell)
            self.act(stream, stream.session.opened())
        self.cell.saw_open(len(self.streams))
        if self.door.resting or self.door.ended:
            self.door_open = False
            self.timers.add(DRAIN_S if self.door.ended else REST_S, None)
        if self.door.ended:
            hang_up(self.streams)
        return self.cell.accepted - before

    def turn(self, stream: Stream) -> int:
        """Try to read, or to write on; return whether there was anything."""
        try:
            if stream.wish == READ:
                data = os.read(stream.fd, READ_BYTES)
                self.cell.bytes_in += len(data)
                wish = stream.perform(stream.session.received(data) if data else stream.session.ended())
            else:
                wish = stream.flush()
        except BlockingIOError:
            self.cell.eagain += 1
            return 0
        except OSError as error:
            wish = stream.lost(error)
        self.follow(stream, wish)
        return int(wish != WRITE)

    def act(self, stream: Stream, effects: Effects) -> None:
        """Carry out effects and follow the stream's new wish."""
        try:
            wish = stream.perform(effects)
        except OSError as error:
            wish = stream.lost(error)
        self.follow(stream, wish)

    def follow(self, stream: Stream, wish: int) -> None:
        """Note what to try in the next round: there is nobody to tell."""
        stream.wish = wish
        if wish == REST:
            self.timers.add(stream.rest_s, stream)
        elif wish == GONE:
            del self.streams[stream.fd]
            os.close(stream.fd)
            self.cell.closed += 1
