"""Signal-driven I/O over UDP, for which it was made.

For a UDP socket a signal means one of two things: a datagram has arrived, or an error. There is no
connection, no end, no acknowledgement to confuse it with. So the classic use is a server that does other work
meanwhile (Stevens' example is an NTP server) and gets a signal for each datagram.

As in ``sigio_tcp.py`` this is a real-time signal that carries the descriptor; it is blocked, and
sigtimedwait(2) takes it from the queue. Each datagram raises a signal, but reading until EAGAIN may return
several datagrams: the signals of the later ones then find nothing. At a low rate the server takes one signal
per datagram; the higher the rate, the more signals find nothing. When the queue is full, the kernel sends one
plain SIGIO, and the reaction is the same: read until EAGAIN.

See fcntl(2), udp(7), socket(7) on SIGIO, sigtimedwait(2); UNIX Network Programming 1, §25.3.

Trap: the socket's receive buffer (SO_RCVBUF) is the only queue. The kernel drops what does not fit, without
an error: the client has to detect the loss.
"""

from __future__ import annotations

import signal
import threading
from collections import deque

from iomodels.listen import DRAIN_S, Listener
from iomodels.native.sigio import Signals, enable_signals
from iomodels.session import PAUSED, Address, Effects, Session, SessionFactory, Timers, Wait
from iomodels.stats import STATS

EVENT_SIGNAL = signal.SIGRTMIN + 1
STOP_SIGNAL = signal.SIGUSR1  # wakes us for the stop: a real-time signal fails when the queue is full
DATAGRAM_BYTES = 65535
MAX_UNSENT = 1024


class PendingAnswer:
    """An answer that waits, and the address that it is sent to."""

    __slots__ = ("address", "interest", "session")

    def __init__(self, session: Session, address: Address) -> None:
        self.session = session
        self.address = address
        self.interest = PAUSED


def serve(listener: Listener, new_session: SessionFactory) -> None:
    """Answer datagrams until the listener is stopped."""
    Server(listener, new_session).run()


class Server:
    """One thread, one socket, one queue of signals."""

    def __init__(self, listener: Listener, new_session: SessionFactory) -> None:
        self.socket = listener
        self.new_session = new_session
        self.counters = STATS.new_counters()
        self.timers: Timers[PendingAnswer] = Timers()
        self.unsent: deque[tuple[bytes, Address, Session]] = deque()
        self.pending = 0
        self.signals = Signals(EVENT_SIGNAL, signal.SIGIO, STOP_SIGNAL)
        listener.setblocking(False)
        thread = threading.get_ident()
        listener.set_wakeup(lambda: signal.pthread_kill(thread, STOP_SIGNAL))
        enable_signals(listener.fileno(), EVENT_SIGNAL)

    def run(self) -> None:
        """Take a signal and read until EAGAIN, again and again; after the stop send the pending answers."""
        self.drain()  # datagrams that arrived before O_ASYNC was set
        while not self.socket.stopping:
            self.step(self.timers.timeout_s())
        self.drain()
        self.timers.add(DRAIN_S, None)
        while self.pending or self.unsent:
            if self.step(self.timers.timeout_s()):
                return

    def step(self, timeout_s: float | None) -> bool:
        """Wait for one signal, handle it and run what is due; return whether the drain time is over."""
        info = self.signals.wait(timeout_s)
        self.counters.wakeups += 1
        if info is not None and info.number != STOP_SIGNAL:
            self.counters.signals += 1
            self.counters.ready += 1
            if info.number == signal.SIGIO:
                self.empty_queue()
            self.send()
            self.drain()
        drained = False
        for answer in self.timers.due():
            if answer is None:
                drained = True
            else:
                self.pending -= 1
                self.run_effects(answer.session, answer.address, answer.session.resumed())
        return drained

    def empty_queue(self) -> None:
        """Empty a queue that was full: one read until EAGAIN stands for all of its signals."""
        STATS.signal_overflow(self.counters, "the queue of signals was full: the socket is read until EAGAIN")
        while self.signals.wait(0) is not None:
            self.counters.signals += 1

    def drain(self) -> None:
        """Read until EAGAIN: a signal does not tell how many datagrams are there."""
        while True:
            try:
                data, address = self.socket.recvfrom(DATAGRAM_BYTES)
            except BlockingIOError:
                self.counters.eagain += 1
                return
            except ConnectionRefusedError:  # by ICMP, for an earlier answer: its client has closed (udp(7))
                STATS.error("reset")
                continue
            self.counters.bytes_in += len(data)
            session = self.new_session(address)
            self.run_effects(session, address, session.received(data))

    def run_effects(self, session: Session, address: Address, effects: Effects) -> None:
        """Carry out the effects of one datagram."""
        for effect in effects:
            if isinstance(effect, bytes):
                self.unsent.append((effect, address, session))
            elif isinstance(effect, Wait):
                self.pending += 1
                self.timers.add(effect.seconds, PendingAnswer(session, address))
        self.send()

    def send(self) -> None:
        """Send until the send buffer is full; the kernel raises a signal when it has room again."""
        while self.unsent:
            data, address, session = self.unsent[0]
            try:
                sent = self.socket.sendto(data, address)
            except BlockingIOError:
                self.counters.eagain += 1
                if len(self.unsent) > MAX_UNSENT:  # UDP may lose answers: drop the oldest
                    self.unsent.popleft()
                    STATS.error("dropped", "answers dropped: the send buffer is full")
                return
            except OSError as error:
                STATS.connection_lost(error)
                sent = 0
            self.unsent.popleft()
            self.counters.bytes_out += sent
            self.counters.requests += session.answers
            session.answers = 0
