"""Blocking I/O, one connection at a time: Stevens' iterative server.

The process waits inside the call that does the work. accept(2) sleeps until a connection is there, read(2)
until bytes are there, write(2) until the send buffer has room. The kernel wakes exactly this process, for
exactly this reason: one system call to read, one to answer, no others. No other model has a lower cost per
request.

The other clients pay for it. While this server blocks in the read of one connection, the kernel completes the
handshakes of the others, and they wait in the listen queue. They wait until the current connection closes,
because keep-alive keeps it open. When the queue is full, the kernel drops further SYNs, and their clients
retransmit after 1, 3, 7 s.

See accept(2), read(2), write(2), listen(2), tcp(7); Stevens, Fenner, Rudoff, UNIX Network Programming 1,
§30.5.

Trap: a signal alone does not end a blocked read: Python runs the handler and calls read again (PEP 475). So a
stop has to make the read return: shutdown(2).
"""

from __future__ import annotations

import os

from iomodels.listen import Listener, StopGuard, accept_blocking
from iomodels.session import READ_BYTES, Session, SessionFactory, run_effects
from iomodels.stats import STATS, Counters


def serve(listener: Listener, new_session: SessionFactory) -> None:
    """Serve one connection after the other until the listener is stopped."""
    counters = STATS.new_counters()
    for conn, address in accept_blocking(listener, counters):
        counters.update_open_peak(1)
        with conn, StopGuard(conn.fileno(), listener):
            serve_connection(conn.fileno(), new_session(address), counters)
        counters.closed += 1


def serve_connection(fd: int, session: Session, counters: Counters) -> None:
    """Serve one connection until it closes."""
    try:
        is_open = run_effects(fd, session, session.opened(), counters)
        while is_open:
            data = os.read(fd, READ_BYTES)
            counters.wakeups += 1
            counters.ready += 1
            counters.bytes_in += len(data)
            effects = session.received(data) if data else session.eof()
            is_open = run_effects(fd, session, effects, counters)
    except OSError as error:
        STATS.connection_lost(error)
