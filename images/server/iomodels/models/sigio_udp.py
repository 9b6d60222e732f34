"""Signal-driven I/O over UDP: where the model is at home.

For a UDP socket a signal means one of two things: a datagram is there, or an error is. There is no
connection, no end, no acknowledgement to confuse it with. So the classic use is a server that must do
something else meanwhile (Stevens' example is a clock that answers NTP) and is told of each datagram as it
comes.

As in ``sigio_tcp.py`` the signal is a real-time one with the descriptor in it, blocked, and taken from the
queue by sigtimedwait(2). A signal is raised per datagram, but one reading may find several: those that came
since, whose own signals then find nothing. At a low rate signals equal datagrams; the higher the rate, the
more of them are late. When the queue is full the kernel sends one plain SIGIO: here the answer is the same,
read until EAGAIN.

See fcntl(2), udp(7), socket(7) on SIGIO, sigtimedwait(2); UNIX Network Programming 1, §25.3.

Trap: the socket's buffer is the only queue. What does not fit (SO_RCVBUF) is dropped without a word, and the
sender has to notice.
"""

from __future__ import annotations

import signal
import threading
from collections import deque

from iomodels.listen import DRAIN_S, Listener
from iomodels.native.sigio import Signals, arm
from iomodels.session import REST, Address, Effects, NewSession, Session, Timers, Wait
from iomodels.stats import STATS

NOTIFY = signal.SIGRTMIN + 1
WAKE = signal.SIGUSR1  # of the stop; a real-time signal would fail when the queue is full
DATAGRAM_BYTES = 65535
MOST_UNSENT = 1024


class Exchange:
    """A datagram whose answer waits, and where it goes."""

    __slots__ = ("address", "session", "wish")

    def __init__(self, session: Session, address: Address) -> None:
        self.session = session
        self.address = address
        self.wish = REST


def serve(listener: Listener, new_session: NewSession) -> None:
    """Answer datagrams until the listener is stopped."""
    Server(listener, new_session).run()


class Server:
    """One thread, one socket, one queue of signals."""

    def __init__(self, listener: Listener, new_session: NewSession) -> None:
        self.socket = listener
        self.new_session = new_session
        self.cell = STATS.cell()
        self.timers: Timers[Exchange] = Timers()
        self.unsent: deque[tuple[bytes, Address, Session]] = deque()
        self.resting = 0
        self.signals = Signals(NOTIFY, signal.SIGIO, WAKE)
        listener.setblocking(False)
        thread = threading.get_ident()
        listener.wake_by(lambda: signal.pthread_kill(thread, WAKE))
        arm(listener.fileno(), NOTIFY)

    def run(self) -> None:
        """The loop: take a signal, read until nothing is there."""
        self.drain()  # what has arrived before the socket was armed
        while not self.socket.stopping:
            self.turn(self.timers.timeout_s())
        self.drain()
        self.timers.add(DRAIN_S, None)
        while self.resting or self.unsent:
            if self.turn(self.timers.timeout_s()):
                return

    def turn(self, timeout_s: float | None) -> bool:
        """Wait for one signal and do what is due; return whether the drain is over."""
        notice = self.signals.wait(timeout_s)
        self.cell.wakeups += 1
        if notice is not None and notice.number != WAKE:
            self.cell.signals += 1
            self.cell.ready += 1
            if notice.number == signal.SIGIO:
                self.overflow()
            self.send()
            self.drain()
        over = False
        for exchange in self.timers.due():
            if exchange is None:
                over = True
            else:
                self.resting -= 1
                self.perform(exchange.session, exchange.address, exchange.session.resumed())
        return over

    def overflow(self) -> None:
        """The queue was full: empty it, as one drain does for all of its signals."""
        STATS.overflow(self.cell, "the queue of signals was full: the socket is read all the same")
        while self.signals.wait(0) is not None:
            self.cell.signals += 1

    def drain(self) -> None:
        """Read until EAGAIN: a signal says that something is there, not how much."""
        while True:
            try:
                data, address = self.socket.recvfrom(DATAGRAM_BYTES)
            except BlockingIOError:
                self.cell.eagain += 1
                return
            except ConnectionRefusedError:  # ICMP to an earlier answer: its client is gone (udp(7))
                STATS.error("reset")
                continue
            self.cell.bytes_in += len(data)
            session = self.new_session(address)
            self.perform(session, address, session.received(data))

    def perform(self, session: Session, address: Address, effects: Effects) -> None:
        """Carry out the effects of one datagram."""
        for effect in effects:
            if isinstance(effect, bytes):
                self.unsent.append((effect, address, session))
            elif isinstance(effect, Wait):
                self.resting += 1
                self.timers.add(effect.seconds, Exchange(session, address))
        self.send()

    def send(self) -> None:
        """Send what is unsent until the send buffer is full; its room raises a signal as well."""
        while self.unsent:
            data, address, session = self.unsent[0]
            try:
                sent = self.socket.sendto(data, address)
            except BlockingIOError:
                self.cell.eagain += 1
                if len(self.unsent) > MOST_UNSENT:  # UDP may lose: better one than all
                    self.unsent.popleft()
                    STATS.error("dropped", "answers dropped: the send buffer is full")
                return
            except OSError as error:
                STATS.lost(error)
                sent = 0
            self.unsent.popleft()
            self.cell.bytes_out += sent
            self.cell.requests += session.answers
            session.answers = 0
