"""Non-blocking I/O: the polling loop.

With O_NONBLOCK a call that would have to wait returns EAGAIN at once. So the program never waits. It polls
the listener, then every connection, with one read(2) each, round after round, and finds everything within a
round. The price is that it never sleeps: an idle server makes as many system calls as it can, and with 10,000
connections a round is 10,000 calls that return EAGAIN.

The option `idle_sleep` adds a sleep to each round that found nothing. It saves CPU and adds latency: up to
one sleep per answer. Its default is 0.

See fcntl(2), O_NONBLOCK in open(2), EAGAIN in read(2); UNIX Network Programming 1, §16.

Trap: removing an item from a list that is being iterated skips the next item. This loop iterates over a copy.
"""

from __future__ import annotations

import os
import time

from iomodels.listen import ACCEPT_PAUSE_S, DRAIN_S, Acceptor, Listener, close_all, shutdown_reads
from iomodels.session import CLOSED, PAUSED, READ, READ_BYTES, WRITE, Effects, SessionFactory, Stream, Timers
from iomodels.stats import STATS
from iomodels.units import seconds


def serve(listener: Listener, new_session: SessionFactory) -> None:
    """Serve all connections from one thread until the listener is stopped."""
    Server(listener, new_session).run()


class Server:
    """One thread that polls without a pause."""

    def __init__(self, listener: Listener, new_session: SessionFactory) -> None:
        self.new_session = new_session
        self.counters = STATS.new_counters()
        self.acceptor = Acceptor(listener, self.counters)
        self.accepting = True
        self.idle_sleep_s = seconds(listener.options["idle_sleep"])
        self.timers: Timers[Stream] = Timers()
        self.streams: dict[int, Stream] = {}

    def run(self) -> None:
        """Poll the listener and every connection, round after round."""
        counters, streams = self.counters, self.streams
        while not self.acceptor.finished(streams):
            found = self.accept() if self.accepting else 0
            for stream in list(streams.values()):
                if stream.interest != PAUSED:
                    found += self.on_ready(stream)
            for paused in self.timers.due():
                if paused is not None:
                    self.run_effects(paused, paused.session.resumed())
                elif not self.acceptor.stopped:
                    self.accepting = True
            counters.wakeups += 1
            counters.ready += found
            if not found and self.idle_sleep_s:
                time.sleep(self.idle_sleep_s)
        close_all(streams, counters)

    def accept(self) -> int:
        """Accept until EAGAIN; return the number of connections."""
        before = self.counters.accepted
        for fd, address in self.acceptor.accept_all():
            stream = self.streams[fd] = Stream(fd, self.new_session(address), self.counters)
            self.run_effects(stream, stream.session.opened())
        self.counters.update_open_peak(len(self.streams))
        if self.acceptor.paused or self.acceptor.stopped:
            self.accepting = False
            self.timers.add(DRAIN_S if self.acceptor.stopped else ACCEPT_PAUSE_S, None)
        if self.acceptor.stopped:
            shutdown_reads(self.streams)
        return self.counters.accepted - before

    def on_ready(self, stream: Stream) -> int:
        """Try to read, or to write what is unsent; return 1 if it was possible, else 0."""
        try:
            if stream.interest == READ:
                data = os.read(stream.fd, READ_BYTES)
                self.counters.bytes_in += len(data)
                interest = stream.run_effects(stream.session.received(data) if data else stream.session.eof())
            else:
                interest = stream.flush()
        except BlockingIOError:
            self.counters.eagain += 1
            return 0
        except OSError as error:
            interest = stream.connection_lost(error)
        self.set_interest(stream, interest)
        return int(interest != WRITE)

    def run_effects(self, stream: Stream, effects: Effects) -> None:
        """Carry out effects, and set the new interest."""
        try:
            interest = stream.run_effects(effects)
        except OSError as error:
            interest = stream.connection_lost(error)
        self.set_interest(stream, interest)

    def set_interest(self, stream: Stream, interest: int) -> None:
        """Set what to try in the next round: the kernel is not told."""
        stream.interest = interest
        if interest == PAUSED:
            self.timers.add(stream.pause_s, stream)
        elif interest == CLOSED:
            del self.streams[stream.fd]
            os.close(stream.fd)
            self.counters.closed += 1
