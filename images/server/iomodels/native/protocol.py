"""The asyncio protocol of one connection, shared by the models that run it on different event loops.

The loop accepts and reads; the transport sends and keeps what the kernel does not take. This class connects
both to a session: it passes received data to the session, and the session's effects to the transport.
"""

from __future__ import annotations

import asyncio
import os
from typing import cast

from iomodels.listen import disable_nodelay
from iomodels.session import Close, Effects, SendFile, Session, SessionFactory, Wait
from iomodels.stats import STATS, Counters


class Connections(set["Connection"]):
    """The open connections of a server, and what they share.

    Attributes:
        emptied: set when the last connection has closed.
    """

    def __init__(self, new_session: SessionFactory, counters: Counters, nodelay: bool) -> None:
        super().__init__()
        self.new_session = new_session
        self.counters = counters
        self.nodelay = nodelay
        self.emptied = asyncio.Event()

    def new_protocol(self) -> Connection:
        """Return the protocol of a connection that the loop is about to open."""
        return Connection(self)

    async def close_within(self, timeout_s: float) -> None:
        """Wait until all connections have closed, and abort those that are open after that time."""
        if not self:
            return
        self.emptied.clear()
        try:
            await asyncio.wait_for(self.emptied.wait(), timeout_s)
        except TimeoutError:
            for connection in list(self):
                connection.transport.abort()
            await asyncio.sleep(0)  # the loop calls connection_lost in its next round


class Connection(asyncio.Protocol):
    """One connection: its session and its transport."""

    __slots__ = ("connections", "counters", "fd", "session", "transport", "waiting")

    def __init__(self, connections: Connections) -> None:
        self.connections = connections
        self.counters = connections.counters
        self.waiting = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Open the session. The loop has accepted the connection and set TCP_NODELAY."""
        self.transport = cast(asyncio.Transport, transport)
        self.fd: int = transport.get_extra_info("socket").fileno()
        self.session: Session = self.connections.new_session(transport.get_extra_info("peername"))
        self.transport.set_write_buffer_limits(high=0)  # pause_writing is called from the first byte on
        if not self.connections.nodelay:
            disable_nodelay(self.fd)
        self.counters.accepted += 1
        self.connections.add(self)
        self.counters.update_open_peak(len(self.connections))
        self.run_effects(self.session.opened())

    def data_received(self, data: bytes) -> None:
        """Hand what the loop has read to the session."""
        self.counters.wakeups += 1
        self.counters.ready += 1
        self.counters.bytes_in += len(data)
        self.run_effects(self.session.received(data))

    def eof_received(self) -> bool:
        """Tell the session; return True to keep the transport open, as the peer may still read."""
        self.run_effects(self.session.eof())
        return True

    def connection_lost(self, error: Exception | None) -> None:
        """Count the closed connection; either side may have closed it."""
        if isinstance(error, OSError):
            STATS.connection_lost(error)
        self.counters.closed += 1
        self.connections.discard(self)
        if not self.connections:
            self.connections.emptied.set()

    def run_effects(self, effects: Effects) -> None:
        """Hand the effects to the transport."""
        for effect in effects:
            if isinstance(effect, bytes):
                self.transport.write(effect)
                self.counters.bytes_out += len(effect)
            elif isinstance(effect, SendFile):
                self.transport.write(os.pread(effect.fd, effect.length, effect.offset))
                self.counters.bytes_out += effect.length
            elif isinstance(effect, Wait):
                self.waiting = True
                self.transport.pause_reading()
                asyncio.get_running_loop().call_later(effect.seconds, self.resume)
            elif isinstance(effect, Close):
                self.transport.close()  # after it has sent what is in its buffer
        if not self.transport.get_write_buffer_size():
            self.count_answers()

    def resume(self) -> None:
        """Go on after a wait."""
        if self in self.connections:
            self.waiting = False
            self.run_effects(self.session.resumed())
            self.resume_reading()

    def pause_writing(self) -> None:
        """Stop reading: the kernel did not take all output."""
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Read again: the kernel has taken all output."""
        self.count_answers()
        self.resume_reading()

    def resume_reading(self) -> None:
        """Read again, unless output is unsent or the session waits."""
        if not self.waiting and not self.transport.get_write_buffer_size():
            self.transport.resume_reading()

    def count_answers(self) -> None:
        """Count the answers as requests; call it only when their last byte was taken."""
        self.counters.requests += self.session.answers
        self.session.answers = 0
