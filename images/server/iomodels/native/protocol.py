"""The asyncio protocol of one connection, shared by the models that run it on different event loops.

The loop accepts and reads; the transport sends and keeps what the kernel does not take. This class connects
both to a session: it passes received data to the session, and the session's effects to the transport.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from typing import cast

from iomodels.listen import disable_nodelay
from iomodels.session import Effect, Effects, SendFile, Session, SessionFactory, Wait
from iomodels.stats import STATS, Counters

FILE_BYTES = 256 << 10  # of a file, read and handed to the transport at a time


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

    __slots__ = ("connections", "counters", "fd", "pending", "session", "transport", "waiting")

    def __init__(self, connections: Connections) -> None:
        self.connections = connections
        self.counters = connections.counters
        self.pending: deque[Effect] = deque()  # what follows output that the kernel did not take yet
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
        self.pending.clear()
        self.connections.discard(self)
        if not self.connections:
            self.connections.emptied.set()

    def run_effects(self, effects: Effects) -> None:
        """Hand the effects to the transport, as far as the kernel takes the output; keep the others."""
        self.pending.extend(effects)
        self.run_pending()

    def run_pending(self) -> None:
        """Carry out effects until the transport has to keep output: so it keeps a part of one effect only.

        Requests that arrive in one read can have answers that are thousands of times as long.
        """
        pending, transport = self.pending, self.transport
        while pending and not transport.get_write_buffer_size():
            self.run_effect(pending.popleft())
            if transport.is_closing():  # nobody reads any more
                pending.clear()
        if not pending and not transport.get_write_buffer_size():
            self.count_answers()

    def run_effect(self, effect: Effect) -> None:
        """Hand one effect to the transport; of a file only the next part."""
        if isinstance(effect, bytes):
            self.transport.write(effect)
            self.counters.bytes_out += len(effect)
        elif isinstance(effect, SendFile):
            self.send_file(effect)
        elif isinstance(effect, Wait):
            self.waiting = True
            self.transport.pause_reading()
            asyncio.get_running_loop().call_later(effect.seconds, self.resume)
        else:
            self.transport.close()  # after it has sent what is in its buffer

    def send_file(self, file: SendFile) -> None:
        """Write the next part of a file, and put what is left of it in front."""
        data = os.pread(file.fd, min(file.length, FILE_BYTES), file.offset)
        if not data:
            raise EOFError(f"the file is {file.length} bytes too short")
        self.transport.write(data)
        self.counters.bytes_out += len(data)
        if left := file.length - len(data):
            self.pending.appendleft(SendFile(file.fd, file.offset + len(data), left))

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
        """Go on, then read again: the kernel has taken all output."""
        self.run_pending()
        self.resume_reading()

    def resume_reading(self) -> None:
        """Read again, unless output is unsent or the session waits."""
        if not self.waiting and not self.pending and not self.transport.get_write_buffer_size():
            self.transport.resume_reading()

    def count_answers(self) -> None:
        """Count the answers as requests; call it only when their last byte was taken."""
        self.counters.requests += self.session.answers
        self.session.answers = 0
