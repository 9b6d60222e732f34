"""I/O multiplexing behind callbacks, compiled: asyncio's interface on top of libuv.

The program is that of ``asyncio.py``, to the letter. The loop below it is another: libuv, the library of
Node.js, bound by Cython. The waiting is epoll(7), level-triggered, as before; what goes is the interpreter's
share between an event and its callback. So the difference between the two is the price of a loop in Python.

libuv waits with epoll_pwait(2), and where it may it hands epoll's own changes to the kernel through io_uring,
in batches: a few io_uring_enter(2) in its profile are that, and no I/O.

See epoll(7); libuv's documentation, "Design overview"; uvloop's, "Using uvloop".

Trap: libuv keeps a spare descriptor. When there are no more (EMFILE), it closes the spare, accepts, closes
the connection, and takes the spare back: a client beyond the limit is hung up on, not left waiting, and no
error is reported.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from importlib import import_module
from typing import cast

from iomodels.listen import DRAIN_S, Listener, hang_up, nagle
from iomodels.native import Missing
from iomodels.session import Close, Effects, NewSession, SendFile, Session, Wait
from iomodels.stats import STATS, Counters


def serve(listener: Listener, new_session: NewSession) -> None:
    """Serve all connections from one event loop until the listener is stopped."""
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(converse(listener, new_session))


def require() -> None:
    """Check that uvloop is there.

    Raises:
        Missing: it is not.
    """
    loop_factory()


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """Return what makes uvloop's event loops."""
    try:
        factory: Callable[[], asyncio.AbstractEventLoop] = import_module("uvloop").new_event_loop
    except ImportError as error:
        raise Missing(f"the Python package uvloop is not installed ({error})") from error
    return factory


async def converse(listener: Listener, new_session: NewSession) -> None:
    """Start the server, wait for the stop, let answers in flight out."""
    loop = asyncio.get_running_loop()
    cell = STATS.cell()
    talks: set[Conversation] = set()
    stopped, emptied = asyncio.Event(), asyncio.Event()
    listener.wake_by(lambda: loop.call_soon_threadsafe(stopped.set))
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
