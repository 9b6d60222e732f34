"""Signal-driven I/O over TCP: the kernel sends a signal for every event on a socket.

With O_ASYNC (FASYNC) set, every change of a socket's state raises a signal for the socket's owner. A plain
SIGIO tells only that something has happened on some socket. With F_SETSIG the kernel sends a real-time signal
instead: these are queued, one for each event, and carry the descriptor (`si_fd`). F_SETOWN_EX selects the one
thread that gets them. This thread blocks the signal and takes one after the other from the queue
(sigtimedwait(2)), as phhttpd did before epoll existed.

For TCP this is nearly useless, as Stevens says: a connection, data, room in the send buffer, the peer's end
and a reset all raise the same signal. Even the acknowledgement of an answer may raise one, and each signal
costs a system call. A signal is an edge and only a hint: read until EAGAIN, as in ``epoll_et.py``. It may
also be too late: the signal of a descriptor that has been closed meanwhile is still in the queue.

The queue is bounded (RLIMIT_SIGPENDING, for all processes of the user). When it is full, the kernel sends one
plain SIGIO and drops further signals. Then the program does not know which sockets are ready: it has to empty
the queue and check all sockets.

See fcntl(2), "Managing signals"; signal(7), "Real-time signals"; sigtimedwait(2); UNIX Network Programming 1,
§25.

Trap: block both signals before O_ASYNC is set on the first descriptor, and read once right after it is set:
what arrived before raises no signal.
"""

from __future__ import annotations

import os
import signal

from iomodels.listen import ACCEPT_PAUSE_S, DRAIN_S, Acceptor, Listener, close_all, shutdown_reads
from iomodels.native.sigio import SignalInfo, Signals, enable_signals
from iomodels.session import CLOSED, PAUSED, READ, READ_BYTES, WRITE, Effects, SessionFactory, Stream, Timers
from iomodels.stats import STATS

EVENT_SIGNAL = signal.SIGRTMIN + 1
MAX_READS = 16


def serve(listener: Listener, new_session: SessionFactory) -> None:
    """Serve all connections from one thread until the listener is stopped."""
    Server(listener, new_session).run()


class Server:
    """One thread, one queue of signals."""

    def __init__(self, listener: Listener, new_session: SessionFactory) -> None:
        self.new_session = new_session
        self.counters = STATS.new_counters()
        self.acceptor = Acceptor(listener, self.counters)
        self.listener_fd = listener.fileno()
        self.timers: Timers[Stream] = Timers()
        self.streams: dict[int, Stream] = {}
        self.unfinished: dict[int, Stream] = {}
        self.signals = Signals(EVENT_SIGNAL, signal.SIGIO)
        enable_signals(self.listener_fd, EVENT_SIGNAL)

    def run(self) -> None:
        """Take a signal, then read or write on its descriptor, again and again."""
        self.accept()
        while not self.acceptor.finished(self.streams):
            info = self.signals.wait(0 if self.unfinished else self.timers.timeout_s())
            self.counters.wakeups += 1
            if info is not None:
                self.on_signal(info)
            continued = list(self.unfinished.values())
            self.unfinished.clear()
            for stream in continued:
                self.on_ready(stream)
            for paused in self.timers.due():
                if paused is not None:
                    self.run_effects(paused, paused.session.resumed())
                elif not self.acceptor.stopped:
                    self.accept()  # its signal was taken when descriptors ran out
        close_all(self.streams, self.counters)

    def on_signal(self, info: SignalInfo) -> None:
        """Handle one signal."""
        self.counters.signals += 1
        self.counters.ready += 1
        if info.number == signal.SIGIO:
            self.check_all()
        elif info.fd == self.listener_fd:
            if not self.acceptor.stopped:
                self.accept()
        elif info.fd in self.streams:  # else it was closed while its signal was in the queue
            self.on_ready(self.streams[info.fd])

    def check_all(self) -> None:
        """Empty a queue that was full, then check every descriptor: signals are lost."""
        STATS.signal_overflow(self.counters, "the queue of signals was full: every connection is checked")
        while self.signals.wait(0) is not None:
            self.counters.signals += 1
        if not self.acceptor.stopped:
            self.accept()
        for stream in list(self.streams.values()):
            self.on_ready(stream)

    def accept(self) -> None:
        """Accept until EAGAIN."""
        for fd, address in self.acceptor.accept_all():
            stream = self.streams[fd] = Stream(fd, self.new_session(address), self.counters)
            self.counters.update_open_peak(len(self.streams))  # it may close before the next accept
            enable_signals(fd, EVENT_SIGNAL)
            self.run_effects(stream, stream.session.opened())
            if stream.interest == READ:
                self.drain(stream)  # bytes that arrived before O_ASYNC was set
        if self.acceptor.paused or self.acceptor.stopped:
            self.timers.add(DRAIN_S if self.acceptor.stopped else ACCEPT_PAUSE_S, None)
        if self.acceptor.stopped:
            shutdown_reads(self.streams)
            for stream in list(self.streams.values()):  # shutdown(2) raises no signal
                self.on_ready(stream)

    def on_ready(self, stream: Stream) -> None:
        """Read or write, by the stream's interest; a pause goes on."""
        if stream.interest == READ:
            self.drain(stream)
        elif stream.interest == WRITE:
            try:
                interest = stream.flush()
            except OSError as error:
                interest = stream.connection_lost(error)
            if interest != WRITE:
                self.set_interest(stream, interest)

    def drain(self, stream: Stream) -> None:
        """Read until EAGAIN, or until the interest is no longer READ."""
        session, counters = stream.session, self.counters
        try:
            for _ in range(MAX_READS):
                data = os.read(stream.fd, READ_BYTES)
                counters.bytes_in += len(data)
                interest = stream.run_effects(session.received(data) if data else session.eof())
                if interest != READ:
                    break
            else:
                self.unfinished[stream.fd] = stream
                return
        except BlockingIOError:
            counters.eagain += 1
            return
        except OSError as error:
            interest = stream.connection_lost(error)
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
        """Set the new interest. The kernel is not told: it signals all events anyway."""
        stream.interest = interest
        if interest == READ:
            self.unfinished[stream.fd] = stream
        elif interest == PAUSED:
            self.timers.add(stream.pause_s, stream)
        elif interest == CLOSED:
            del self.streams[stream.fd]
            self.unfinished.pop(stream.fd, None)
            os.close(stream.fd)
            self.counters.closed += 1
