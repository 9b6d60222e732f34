"""I/O multiplexing behind callbacks: asyncio's event loop and its Protocol interface.

Underneath is epoll(7), level-triggered, in the loop's selector: compare ``epoll_lt.py``. What asyncio adds is
that nobody writes that loop. The loop accepts, reads, and calls a protocol with what it read; a transport
takes output, sends what the kernel will take, and keeps the rest until the socket is writable. A handle in a
queue stands between each event and its callback: that, and the objects a connection is made of, is the extra
cost per request.

Backpressure is a pair of callbacks: `pause_writing` when output is held back (here from the first byte),
`resume_writing` when it is gone. Between them this server does not read.

See epoll(7); Python's documentation, "Transports and Protocols".

A cost that surprises: the transport receives into 256 KiB, and the C library takes a block of that size from
the kernel and gives it back: mmap(2), mremap(2), munmap(2) for every message.

Trap: a callback that computes holds the loop: everybody waits. And the loop sets O_NONBLOCK, its sendfile is
a coroutine: a file is read and written here instead.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any, cast

from iomodels.listen import DRAIN_S, OUT_OF, Listener, hang_up, nagle
from iomodels.session import Close, Effects, NewSession, SendFile, Session, Wait
from iomodels.stats import STATS, Counters, log


def serve(listener: Listener, new_session: NewSession) -> None:
    """Serve all connections from one event loop until the listener is stopped."""
    asyncio.run(converse(listener, new_session))


async def converse(listener: Listener, new_session: NewSession) -> None:
    """Start the server, wait for the stop, let answers in flight out."""
    loop = asyncio.get_running_loop()
    cell = STATS.cell()
    talks: set[Conversation] = set()
    stopped, emptied = asyncio.Event(), asyncio.Event()
    listener.wake_by(lambda: loop.call_soon_threadsafe(stopped.set))
    loop.set_exception_handler(lambda loop, context: complain(loop, context, listener))
    server = await loop.create_server(
        lambda: Conversation(new_session, cell, talks, emptied, listener.nodelay),
        sock=listener,
        backlog=listener.backlog,
    )
    await stopped.wait()
    server.close()
    hang_up(talk.fd for talk in talks)
    if talks:
        emptied.clear()
        try:
            await asyncio.wait_for(emptied.wait(), DRAIN_S)
        except TimeoutError:
            for talk in list(talks):
                talk.transport.abort()
            await asyncio.sleep(0)  # connection_lost is called from the loop


def complain(loop: asyncio.AbstractEventLoop, context: dict[str, Any], listener: Listener) -> None:
    """Count the one error that the loop survives (it rests for a second); anything else is a bug."""
    error = context.get("exception")
    if isinstance(error, OSError) and error.errno in OUT_OF:
        STATS.error("emfile", f"accept: {error.strerror}; the loop rests before the next try")
        return
    if isinstance(error, ValueError) and listener.fileno() == -1:
        log("info", "the loop's rest ended after the stop: there is no listener to go back to")
        return
    loop.default_exception_handler(context)


class Conversation(asyncio.Protocol):
    """One connection: a session and its transport."""

    __slots__ = (
        "cell",
        "emptied",
        "fd",
        "new_session",
        "nodelay",
        "session",
        "talks",
        "transport",
        "waiting",
    )

    def __init__(
        self,
        new_session: NewSession,
        cell: Counters,
        talks: set[Conversation],
        emptied: asyncio.Event,
        nodelay: bool,
    ) -> None:
        self.waiting = False
        self.nodelay = nodelay
        self.new_session = new_session
        self.cell = cell
        self.talks = talks
        self.emptied = emptied

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; the loop has accepted and set TCP_NODELAY."""
        self.transport = cast(asyncio.Transport, transport)
        self.fd: int = transport.get_extra_info("socket").fileno()
        self.session: Session = self.new_session(transport.get_extra_info("peername"))
        self.transport.set_write_buffer_limits(high=0)
        if not self.nodelay:
            nagle(self.fd)
        self.cell.accepted += 1
        self.talks.add(self)
        self.cell.saw_open(len(self.talks))
        self.perform(self.session.opened())

    def data_received(self, data: bytes) -> None:
        """The loop has read."""
        self.cell.wakeups += 1
        self.cell.ready += 1
        self.cell.bytes_in += len(data)
        self.perform(self.session.received(data))

    def eof_received(self) -> bool:
        """The peer sends no more; it may still read, so the transport stays."""
        self.perform(self.session.ended())
        return True

    def connection_lost(self, error: Exception | None) -> None:
        """It is over, asked for or not."""
        if isinstance(error, OSError):
            STATS.lost(error)
        self.cell.closed += 1
        self.talks.discard(self)
        if not self.talks:
            self.emptied.set()

    def perform(self, effects: Effects) -> None:
        """Hand the effects to the transport."""
        for effect in effects:
            if isinstance(effect, bytes):
                self.transport.write(effect)
                self.cell.bytes_out += len(effect)
            elif isinstance(effect, SendFile):
                self.transport.write(os.pread(effect.fd, effect.length, effect.offset))
                self.cell.bytes_out += effect.length
            elif isinstance(effect, Wait):
                self.waiting = True
                self.transport.pause_reading()
                asyncio.get_running_loop().call_later(effect.seconds, self.resume)
            elif isinstance(effect, Close):
                self.transport.close()  # after what is buffered
        if not self.transport.get_write_buffer_size():
            self.count_answers()

    def resume(self) -> None:
        """A wait is over."""
        if self in self.talks:
            self.waiting = False
            self.perform(self.session.resumed())
            self.read_on()

    def pause_writing(self) -> None:
        """The kernel did not take everything: read no more until it has."""
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Everything is with the kernel."""
        self.count_answers()
        self.read_on()

    def read_on(self) -> None:
        """Read again, unless output or a wait has to come first."""
        if not self.waiting and not self.transport.get_write_buffer_size():
            self.transport.resume_reading()

    def count_answers(self) -> None:
        """Count what is answered; never before its last byte was taken."""
        self.cell.requests += self.session.answers
        self.session.answers = 0
