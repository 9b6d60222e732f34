"""Asynchronous I/O, Linux style: io_uring(7). The kernel does the operation, and says when it is done.

There are two queues in shared memory. The program writes what it wants into one: accept here, receive there,
send these bytes. The kernel writes what has become of it into the other. One system call, io_uring_enter(2),
hands over any number of wishes and fetches any number of results: at a high load it is a fraction of a call
per request, where every other model here needs two or more.

It is completion, not readiness: the bytes are in memory when we hear of them. So a receive needs its buffer
before there is anything to receive. 10,000 idle connections with a buffer each would be waste: here the
kernel takes one from a common pool when data arrives (provided buffers). And a request may be *multishot*:
one accept brings every connection, one receive every piece of data, until it says that it will not go on (no
MORE flag): because the pool is empty, because of an error, because it was cancelled.

No thread is hidden here, unlike in ``posix_aio.py``: a socket that is not ready is polled inside the kernel.

See io_uring(7), io_uring_enter(2), io_uring_multishot(7), io_uring_provided_buffers(7); J. Axboe, Efficient
IO with io_uring (2019).

Traps: a request holds the socket open: close(2) alone sends nothing while a receive is in flight, so cancel
it first. A multishot receive does not stop because we are busy: what arrives meanwhile is kept in `inbox`,
and the receive is cancelled when that is full. Sending is not complete because it was completed: it may be
short.
"""

from __future__ import annotations

import errno
import os
import socket
from collections import deque

from iomodels.listen import DRAIN_S, OUT_OF, REST_S, Listener, hang_up
from iomodels.native import uring
from iomodels.native.uring import MORE, Ring
from iomodels.session import (
    GONE,
    READ,
    REST,
    WRITE,
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

ENTRIES, COMPLETIONS = 1024, 16384
BUFFERS, BUFFER_BYTES = 1024, 4096
INBOX_BYTES = 65536
ACCEPT, RECEIVE, SEND, CANCEL = range(4)  # the low bits of a tag; the rest is the number of the talk
DOOR = 0


def require() -> None:
    """Check that the kernel has it and the container may use it; raises Missing."""
    uring.require()


def serve(listener: Listener, new_session: NewSession) -> None:
    """Serve all connections from one thread until the listener is stopped."""
    Server(listener, new_session).run()


class Talk:
    """One connection: its session, what has arrived unread, and what is unsent."""

    __slots__ = ("ended", "fd", "inbox", "inbox_bytes", "number", "offset", "queue", "receiving", "sending",
                 "session", "wish")  # fmt: skip

    def __init__(self, number: int, fd: int, session: Session) -> None:
        self.number = number
        self.fd = fd
        self.session = session
        self.wish = READ
        self.queue: deque[Effect] | None = None
        self.inbox: deque[bytes] | None = None
        self.inbox_bytes = 0
        self.ended = False  # the peer's end has arrived and the session has not been told
        self.receiving = False
        self.sending: bytes | None = None
        self.offset = 0


class Server:
    """One thread, one ring."""

    def __init__(self, listener: Listener, new_session: NewSession) -> None:
        self.listener = listener
        self.new_session = new_session
        self.cell = STATS.cell()
        self.timers: Timers[Talk] = Timers()
        self.talks: dict[int, Talk] = {}
        self.last_number = DOOR
        self.stopped = self.drained = False
        self.ring = Ring(ENTRIES, COMPLETIONS, BUFFERS, BUFFER_BYTES)
        self.ring.accept(listener.fileno(), DOOR << 2 | ACCEPT)

    def run(self) -> None:
        """The loop: hand over what was asked for, take what is done."""
        cell, talks = self.cell, self.talks
        while not self.stopped or (talks and not self.drained):
            completions = self.ring.wait(self.timers.timeout_s())
            cell.wakeups += 1
            cell.ready += len(completions)
            cell.completions += len(completions)
            for tag, result, flags in completions:
                kind = tag & 3
                if kind == RECEIVE:
                    self.received(talks[tag >> 2], result, flags)
                elif kind == SEND:
                    self.sent(talks[tag >> 2], result)
                elif kind == ACCEPT:
                    self.accepted(result, flags)
            cell.saw_open(len(talks))
            for talk in self.timers.due():
                if talk is not None:
                    self.perform(talk, talk.session.resumed())
                elif self.stopped:
                    self.drained = True
                else:
                    self.ring.accept(self.listener.fileno(), DOOR << 2 | ACCEPT)
        for talk in talks.values():
            os.close(talk.fd)
            cell.closed += 1
        self.ring.close()

    def accepted(self, result: int, flags: int) -> None:
        """A connection, or why there is none."""
        if result >= 0:
            self.cell.accepted += 1
            self.last_number += 1
            talk = Talk(self.last_number, result, self.new_session(peer(result)))
            self.talks[talk.number] = talk
            self.perform(talk, talk.session.opened())
        if flags & MORE:
            return
        if self.listener.stopping or result == -errno.EINVAL:
            self.stopped = True
            self.timers.add(DRAIN_S, None)
            hang_up(talk.fd for talk in self.talks.values())
        elif -result in OUT_OF:
            STATS.error("emfile", f"accept: {os.strerror(-result)}; resting {REST_S} s before the next try")
            self.timers.add(REST_S, None)
        else:
            if result < 0:
                STATS.error("aborted")
            self.ring.accept(self.listener.fileno(), DOOR << 2 | ACCEPT)

    def received(self, talk: Talk, result: int, flags: int) -> None:
        """Data, the end, or the reason why the receive does not go on."""
        talk.receiving = bool(flags & MORE)
        data = self.ring.take(result, flags) if flags & uring.BUFFER else b""
        if talk.wish == GONE:
            self.release(talk)
            return
        if data:
            self.cell.bytes_in += len(data)
            if talk.wish == READ:  # nearly always: nothing is ahead of it
                self.perform(talk, talk.session.received(data))
                return
            talk.inbox = talk.inbox or deque()
            talk.inbox.append(data)
            talk.inbox_bytes += len(data)
        elif result == 0:
            talk.ended = True
        elif result not in (-errno.ENOBUFS, -errno.ECANCELED):
            STATS.lost(OSError(-result, os.strerror(-result)))
            self.close(talk)
            return
        if talk.wish == READ:
            self.go_on(talk)
        elif talk.inbox_bytes > INBOX_BYTES and talk.receiving:
            self.ring.cancel(talk.number << 2 | RECEIVE, talk.number << 2 | CANCEL)

    def sent(self, talk: Talk, result: int) -> None:
        """Some or all of what was to be sent is with the kernel."""
        data, talk.sending = talk.sending, None
        if talk.wish == GONE:
            self.release(talk)
            return
        if result < 0:
            STATS.lost(OSError(-result, os.strerror(-result)))
            self.close(talk)
            return
        self.cell.bytes_out += result
        talk.offset += result
        assert data is not None
        if talk.offset < len(data):
            talk.sending = data
            self.ring.send(talk.fd, data, talk.offset, talk.number << 2 | SEND)
        else:
            self.go_on(talk)

    def perform(self, talk: Talk, effects: Effects) -> None:
        """Queue effects and begin with the first."""
        if len(effects) == 1:
            self.begin(talk, effects[0])
            return
        if effects:
            talk.queue = deque(effects)
        self.go_on(talk)

    def go_on(self, talk: Talk) -> None:
        """Do what comes next for a talk that waits for nothing: send what is queued, then hear."""
        session = talk.session
        while True:
            if talk.queue:
                self.begin(talk, talk.queue.popleft())
                return
            talk.queue = None
            self.count_answers(talk)
            if talk.inbox:
                data = talk.inbox.popleft()
                talk.inbox_bytes -= len(data)
                talk.queue = deque(session.received(data))
            elif talk.ended:
                talk.ended = False
                talk.queue = deque(session.ended())
            else:
                talk.inbox = None
                talk.wish = READ
                if not talk.receiving:
                    talk.receiving = True
                    self.ring.receive(talk.fd, talk.number << 2 | RECEIVE)
                return

    def begin(self, talk: Talk, effect: Effect) -> None:
        """Begin one effect; its end, a completion or a timer, leads on."""
        if isinstance(effect, SendFile):
            effect = os.pread(effect.fd, effect.length, effect.offset)
        if isinstance(effect, bytes):
            talk.wish, talk.sending, talk.offset = WRITE, effect, 0
            self.ring.send(talk.fd, effect, 0, talk.number << 2 | SEND)
        elif isinstance(effect, Wait):
            self.count_answers(talk)
            talk.wish = REST
            self.timers.add(effect.seconds, talk)
        elif isinstance(effect, Close):
            self.count_answers(talk)
            if effect.unread:
                discard(talk.fd)
            self.close(talk)

    def count_answers(self, talk: Talk) -> None:
        """Count what is answered: everything before is sent."""
        self.cell.requests += talk.session.answers
        talk.session.answers = 0

    def close(self, talk: Talk) -> None:
        """Close as soon as the kernel has let go of the connection."""
        talk.wish = GONE
        if talk.receiving:
            self.ring.cancel(talk.number << 2 | RECEIVE, talk.number << 2 | CANCEL)
        self.release(talk)

    def release(self, talk: Talk) -> None:
        """Close if nothing is in flight any more: until then the kernel may use our memory."""
        if not talk.receiving and talk.sending is None:
            os.close(talk.fd)
            del self.talks[talk.number]
            self.cell.closed += 1


def peer(fd: int) -> tuple[str, int]:
    """Return the peer's address: a multishot accept has no room for it."""
    borrowed = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=fd)
    try:
        host, port = borrowed.getpeername()
    except OSError as error:
        if error.errno != errno.ENOTCONN:
            raise
        return "?", 0  # reset before we looked
    finally:
        borrowed.detach()
    return host, port
