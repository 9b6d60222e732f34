"""Asynchronous I/O, POSIX style: aio_read(3) and a signal when it is done.

aio_read returns at once, whether or not data is there, and says later that the data *is in the buffer*: not
that one may read, as all multiplexing does. That is the asynchronous model of the book. Each connection has
one operation in flight: a read, then the write of the answer, then the next read. The end of an operation
raises a real-time signal that carries the descriptor (`sigev_value`), and the loop takes one after the other
from the queue (sigtimedwait(2)), as in ``sigio_tcp.py``; the listener, for which POSIX has no aio_accept,
signals too.

Who does it really? On Linux the GNU C library, in user space: a pool of threads that make blocking calls. An
idle connection's read holds a thread, asleep in read(2). So the model costs what a thread per connection
costs, and a queue with a lock and a signal on top. When all threads are asleep, further operations wait for
one: a read that could be served waits behind reads that cannot. Hence the limit: this server takes as many
connections as it has threads (option `threads`) and refuses the rest.

See aio(7), aio_read(3), aio_init(3), sigevent(3type); UNIX Network Programming 1, §6.2.

Traps: the library runs the operations on one descriptor one after the other: a write behind a read that waits
would wait too (or needs a dup(2)). The socket has to stay blocking, or the read is done at once, with EAGAIN.
And it tries pread(2) first, which a socket refuses (ESPIPE): two system calls a read. An end that finds the
queue of signals full is never told, and the library puts the EAGAIN of its sigqueue(3) in the place of the
result: the bytes have been moved, how many is lost. So this server plans for a queue twice as long as it
needs, asks the operations themselves now and then, and hangs up where a result is gone.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import time
from collections import deque

from iomodels.listen import DRAIN_S, REST_S, Door, Listener, close_all, hang_up, shut
from iomodels.native import aio
from iomodels.native.aio import Operation
from iomodels.native.sigio import Notice, Signals, arm
from iomodels.session import (
    REST,
    Close,
    Effect,
    Effects,
    NewSession,
    SendFile,
    Session,
    Timers,
    Wait,
    discard,
)
from iomodels.stats import STATS

KNOCK = signal.SIGRTMIN + 1
DONE = signal.SIGRTMIN + 2
BUFFER_BYTES = 16384
LOOK_S = 0.5  # how often to ask for ends that nobody told
READING, WRITING = 11, 12
FULL = "the queue of signals was full: every operation is asked whether it has ended"
RESULT_LOST = "the queue of signals was full and the result of an operation went with its signal: hung up"


def require() -> None:
    """Check that the C library can; raises Missing."""
    aio.require()


def serve(listener: Listener, new_session: NewSession) -> None:
    """Serve all connections from one thread (and the library's) until the listener is stopped."""
    Server(listener, new_session).run()


class Talk:
    """One connection: its session, what it still has to send, and its operation."""

    __slots__ = ("fd", "operation", "queue", "session", "untold", "wish")

    def __init__(self, fd: int, session: Session) -> None:
        os.set_blocking(fd, True)
        self.fd = fd
        self.session = session
        self.operation = Operation(fd, DONE, BUFFER_BYTES)
        self.queue: deque[Effect] = deque()
        self.wish = READING
        self.untold = False  # its operation had ended at the last look already


class Server:
    """One thread, one queue of signals, and the library's pool."""

    def __init__(self, listener: Listener, new_session: NewSession) -> None:
        self.new_session = new_session
        self.cell = STATS.cell()
        self.door = Door(listener, self.cell)
        self.door_fd = listener.fileno()
        self.timers: Timers[Talk] = Timers()
        self.talks: dict[int, Talk] = {}
        self.most = min(
            int(listener.options["threads"]), resource.getrlimit(resource.RLIMIT_SIGPENDING)[0] // 2
        )
        aio.use_threads(self.most)
        self.next_look = 0.0
        self.signals = Signals(KNOCK, DONE, signal.SIGIO)
        arm(self.door_fd, KNOCK)

    def run(self) -> None:
        """The loop: take a signal, go on with the connection whose operation has ended."""
        self.welcome()
        while not self.door.over(self.talks):
            notice = self.signals.wait(self.timeout_s())
            self.cell.wakeups += 1
            if notice is not None:
                self.cell.ready += 1
                self.cell.signals += 1
                self.heed(notice)
            for talk in self.timers.due():
                if talk is not None:
                    self.perform(talk, talk.session.resumed())
                elif not self.door.ended:
                    self.welcome()
            if time.monotonic() >= self.next_look:
                self.look()
        for fd in self.talks:
            shut(fd, socket.SHUT_RDWR)  # ends the calls that the library's threads sit in
        close_all(self.talks, self.cell)

    def heed(self, notice: Notice) -> None:
        """Do what a signal asks for."""
        if notice.number == DONE and notice.fd in self.talks:
            self.finish(self.talks[notice.fd])
        elif notice.number == KNOCK and not self.door.ended:
            self.welcome()
        elif notice.number == signal.SIGIO:  # the queue was full: anything may have ended
            STATS.overflow(self.cell, FULL)
            self.welcome()
            for talk in list(self.talks.values()):
                self.finish(talk)

    def timeout_s(self) -> float | None:
        """Return how long to sleep: to the next timer, or the next look if there is something to look at."""
        timeout_s = self.timers.timeout_s()
        if not self.talks:
            return timeout_s
        return LOOK_S if timeout_s is None else min(timeout_s, LOOK_S)

    def look(self) -> None:
        """Go on with what had ended at the last look already: its signal would have come by now."""
        self.next_look = time.monotonic() + LOOK_S
        for talk in list(self.talks.values()):
            if talk.untold:
                self.finish(talk)
            else:
                talk.untold = talk.wish != REST and talk.operation.ended()

    def welcome(self) -> None:
        """Accept until nobody waits, as many as there are threads."""
        for fd, address in self.door.accept():
            if len(self.talks) >= self.most:
                STATS.error("refused_limit", f"all {self.most} threads of the pool are taken: refused")
                close_all([fd], self.cell)
                continue
            talk = self.talks[fd] = Talk(fd, self.new_session(address))
            self.perform(talk, talk.session.opened())
        self.cell.saw_open(len(self.talks))
        if self.door.resting or self.door.ended:
            self.timers.add(DRAIN_S if self.door.ended else REST_S, None)
        if self.door.ended:
            hang_up(self.talks)

    def finish(self, talk: Talk) -> None:
        """Take the result of the operation, if it has one, and go on."""
        if talk.wish == REST:
            return
        try:
            count = talk.operation.result()
        except BlockingIOError:  # of the signal: the socket is a blocking one
            self.cell.overflows += 1
            STATS.error("refused_limit", RESULT_LOST)
            self.close(talk)
            return
        except OSError as error:
            STATS.lost(error)
            self.close(talk)
            return
        if count is None:
            return
        talk.untold = False
        self.cell.completions += 1
        if talk.wish == WRITING:
            self.cell.bytes_out += count
            rest = talk.queue.popleft()
            assert isinstance(rest, bytes)
            if count < len(rest):
                talk.queue.appendleft(rest[count:])
            self.go_on(talk)
        else:
            self.cell.bytes_in += count
            data = talk.operation.data(count)
            self.perform(talk, talk.session.received(data) if data else talk.session.ended())

    def perform(self, talk: Talk, effects: Effects) -> None:
        """Queue effects and begin with the first."""
        talk.queue.extend(effects)
        self.go_on(talk)

    def go_on(self, talk: Talk) -> None:
        """Begin the next operation: a write if there is something to send, else a read."""
        if not talk.queue:
            self.count_answers(talk)
            talk.wish = READING
            talk.operation.read()
            return
        effect = talk.queue[0]
        if isinstance(effect, SendFile):
            effect = talk.queue[0] = os.pread(effect.fd, effect.length, effect.offset)
        if isinstance(effect, bytes):
            talk.wish = WRITING
            talk.operation.write(effect)
            return
        talk.queue.popleft()
        self.count_answers(talk)
        if isinstance(effect, Wait):
            talk.wish = REST
            self.timers.add(effect.seconds, talk)
        elif isinstance(effect, Close):
            if effect.unread:
                discard(talk.fd)
            self.close(talk)

    def count_answers(self, talk: Talk) -> None:
        """Count what is answered: everything queued has been written."""
        self.cell.requests += talk.session.answers
        talk.session.answers = 0

    def close(self, talk: Talk) -> None:
        """Close; nothing is in flight, so the buffer is ours again."""
        del self.talks[talk.fd]
        talk.wish = 0
        os.close(talk.fd)
        self.cell.closed += 1
