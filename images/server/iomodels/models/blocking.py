"""Blocking I/O, one connection at a time: Stevens' iterative server.

The process waits inside the call that it wants done. accept(2) sleeps until a connection is there, read(2)
until bytes are there, write(2) until the send buffer has room. The kernel wakes exactly this process, for
exactly this reason: one system call to read, one to answer, no others. Nothing is cheaper per request.

The price is everyone else's. While this server sits in the read of one connection, the others are
established (the kernel shakes hands without asking) but wait in the listen queue, unserved. How long
depends on the one who is served: here a connection is served until it closes, as keep-alive promises. When
the queue is full, further SYNs are dropped and their clients try again after 1, 3, 7 s.

See accept(2), read(2), write(2), listen(2), tcp(7); Stevens, Fenner, Rudoff, UNIX Network Programming 1,
§30.5.

Trap: a signal alone does not end a blocked read. Python runs the handler and calls read again (PEP 475), so
a stop has to make the read itself return: shutdown(2).
"""

from __future__ import annotations

import os

from iomodels.listen import Attention, Listener, connections
from iomodels.session import READ_BYTES, NewSession, Session, converse
from iomodels.stats import STATS, Counters


def serve(listener: Listener, new_session: NewSession) -> None:
    """Serve one connection after the other until the listener is stopped."""
    cell = STATS.cell()
    for conn, address in connections(listener, cell):
        cell.saw_open(1)
        with conn, Attention(conn.fileno(), listener):
            talk(conn.fileno(), new_session(address), cell)
        cell.closed += 1


def talk(fd: int, session: Session, cell: Counters) -> None:
    """Serve one connection to its end."""
    try:
        going_on = converse(fd, session, session.opened(), cell)
        while going_on:
            data = os.read(fd, READ_BYTES)
            cell.wakeups += 1
            cell.ready += 1
            cell.bytes_in += len(data)
            going_on = converse(fd, session, session.received(data) if data else session.ended(), cell)
    except OSError as error:
        STATS.lost(error)
