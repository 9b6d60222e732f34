"""Signal-driven I/O over TCP: the kernel sends a signal when something happens to a socket.

With O_ASYNC (FASYNC) set, every change of a socket's state raises a signal for its owner. Plain SIGIO says
only that something has happened somewhere. F_SETSIG with a real-time signal says where: such signals queue,
one each, and carry the descriptor (`si_fd`). F_SETOWN_EX names the one thread that is to get them. The thread
does not let itself be interrupted: it blocks the signal and takes one after the other from the queue
(sigtimedwait(2)), the way phhttpd did before epoll existed.

For TCP this is nearly useless, as Stevens says: a connection, data, room in the send buffer, the peer's end,
a reset all raise the same signal, an answer's acknowledgement may raise one too, and each costs a system call
to take. A signal is an edge and a hint: drain until EAGAIN, as in ``epoll_et.py``. What it may be about is
gone sometimes: a signal for a descriptor that has been closed since is still in the queue.

The queue is bounded (RLIMIT_SIGPENDING, for all processes of the user). When it is full the kernel sends one
plain SIGIO instead and drops the rest: then nobody knows which sockets are ready. Empty the queue, and go
through all of them.

See fcntl(2), "Managing signals"; signal(7), "Real-time signals"; sigtimedwait(2); UNIX Network Programming 1,
§25.

Trap: block both signals before the first descriptor is armed, and read once right after arming: what came
before raises no signal.
"""

from __future__ import annotations

import os
import signal

from iomodels.listen import DRAIN_S, REST_S, Door, Listener, close_all, hang_up
from iomodels.native.sigio import Notice, Signals, arm
from iomodels.session import GONE, READ, READ_BYTES, REST, WRITE, Effects, NewSession, Stream, Timers
from iomodels.stats import STATS

NOTIFY = signal.SIGRTMIN + 1
FAIR_READS = 16


def serve(listener: Listener, new_session: NewSession) -> None:
    """Serve all connections from one thread until the listener is stopped."""
    Server(listener, new_session).run()


class Server:
    """One thread, one queue of signals."""

    def __init__(self, listener: Listener, new_session: NewSession) -> None:
        self.new_session = new_session
        self.cell = STATS.cell()
        self.door = Door(listener, self.cell)
        self.door_fd = listener.fileno()
        self.timers: Timers[Stream] = Timers()
        self.streams: dict[int, Stream] = {}
        self.unfinished: dict[int, Stream] = {}
        self.signals = Signals(NOTIFY, signal.SIGIO)
        arm(self.door_fd, NOTIFY)

    def run(self) -> None:
        """The loop: take a signal, then drain the descriptor that it names."""
        self.welcome()
        while not self.door.over(self.streams):
            notice = self.signals.wait(0 if self.unfinished else self.timers.timeout_s())
            self.cell.wakeups += 1
            if notice is not None:
                self.heed(notice)
            again = list(self.unfinished.values())
            self.unfinished.clear()
            for stream in again:
                self.turn(stream)
            for resting in self.timers.due():
                if resting is not None:
                    self.act(resting, resting.session.resumed())
                elif not self.door.ended:
                    self.welcome()  # its signal was spent when descriptors ran out
        close_all(self.streams, self.cell)

    def heed(self, notice: Notice) -> None:
        """Do what a signal asks for."""
        self.cell.signals += 1
        self.cell.ready += 1
        if notice.number == signal.SIGIO:
            self.sweep()
        elif notice.fd == self.door_fd:
            if not self.door.ended:
                self.welcome()
        elif notice.fd in self.streams:  # else it was closed before its signal came out of the queue
            self.turn(self.streams[notice.fd])

    def sweep(self) -> None:
        """The queue was full and signals are lost: empty it, then look at every descriptor."""
        STATS.overflow(self.cell, "the queue of signals was full: every connection is looked at")
        while self.signals.wait(0) is not None:
            self.cell.signals += 1
        if not self.door.ended:
            self.welcome()
        for stream in list(self.streams.values()):
            self.turn(stream)

    def welcome(self) -> None:
        """Accept until nobody waits."""
        for fd, address in self.door.accept():
            stream = self.streams[fd] = Stream(fd, self.new_session(address), self.cell)
            self.cell.saw_open(len(self.streams))  # now: it may be over before the next one is accepted
            arm(fd, NOTIFY)
            self.act(stream, stream.session.opened())
            if stream.wish == READ:
                self.drain(stream)  # what has arrived before it was armed
        if self.door.resting or self.door.ended:
            self.timers.add(DRAIN_S if self.door.ended else REST_S, None)
        if self.door.ended:
            hang_up(self.streams)
            for stream in list(self.streams.values()):  # shutdown(2) wakes sleepers, but raises no signal
                self.turn(stream)

    def turn(self, stream: Stream) -> None:
        """Go on where this stream stands; a rest is not disturbed."""
        if stream.wish == READ:
            self.drain(stream)
        elif stream.wish == WRITE:
            try:
                wish = stream.flush()
            except OSError as error:
                wish = stream.lost(error)
            if wish != WRITE:
                self.follow(stream, wish)

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
        """Note what comes next. The kernel is told nothing: it signals everything anyway."""
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
