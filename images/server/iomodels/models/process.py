"""Blocking I/O, a process per connection: the oldest concurrent server.

The parent accepts and forks; the child serves the one connection, iteratively, and exits. Nothing is shared,
so nothing can be corrupted, a crash costs one connection, and all CPUs work at once, each with an interpreter
of its own.

fork(2) copies the page tables, not the pages: these are shared until one side writes (copy on write). Python
writes everywhere, as it counts references, and a child that serves ends up with about 1.4 MiB of its own.
That, and pids.max of the cgroup, bounds the connections: this server forks as many as its memory can hold and
refuses the rest.

A child that has ended is a zombie until its parent waits for it. SIGCHLD says so, but signals of one kind
merge: a handler has to wait in a loop, without blocking.

See fork(2), wait(2), signal(7), prctl(2); UNIX Network Programming 1, §5.9 and §30.6.

Trap: a fork copies the descriptors. The parent has to close the connection, or its end never reaches the
peer; the child has to close the listener (close, not shutdown: that would stop the parent).
"""

from __future__ import annotations

import os
import signal
import socket
import traceback

from iomodels.listen import DRAIN_S, Attention, Listener, connections
from iomodels.native.children import Children, grown_up, room_for
from iomodels.session import READ_BYTES, NewSession, Session, converse
from iomodels.stats import STATS, Counters, UsageClock

CHILD_BYTES = 1_500_000
MOST = 16_384


def serve(listener: Listener, new_session: NewSession) -> None:
    """Fork for each connection until the listener is stopped, then wait for the children."""
    cell = STATS.cell()
    children = Children(room_for(CHILD_BYTES, MOST))
    signal.signal(signal.SIGCHLD, lambda *_: children.reap())
    for conn, address in connections(listener, cell):
        bury(children, cell)
        try:
            if children.fork() == 0:
                os._exit(child(listener, conn, new_session(address)))
        except OSError as error:
            STATS.error("refused_limit", f"fork at {len(children)} children: {error.strerror}")
            cell.closed += 1
        conn.close()
        cell.saw_open(len(children))
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    bury(children, cell)
    children.signal(signal.SIGTERM)
    children.end(DRAIN_S + 0.2)
    bury(children, cell)


def bury(children: Children, cell: Counters) -> None:
    """Take over the counters of children that have ended; a crash has closed its connection as well."""
    for pid, code in children.settle():
        if code:
            STATS.error("crashed", f"child {pid} ended with {code}")
            cell.closed += 1


def child(listener: Listener, conn: socket.socket, session: Session) -> int:
    """Serve the connection; return the exit code."""
    try:
        listener.close()
        cell = STATS.use_shared_cell()
        clock = UsageClock(cell)
        with Attention(conn.fileno()) as attention:
            grown_up(attention.hang_up)
            talk(conn.fileno(), session, cell, clock)
        conn.close()
        cell.closed += 1
        clock.forget()
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def talk(fd: int, session: Session, cell: Counters, clock: UsageClock) -> None:
    """Serve one connection to its end."""
    try:
        going_on = converse(fd, session, session.opened(), cell)
        while going_on:
            clock.tick()
            data = os.read(fd, READ_BYTES)
            cell.wakeups += 1
            cell.ready += 1
            cell.bytes_in += len(data)
            going_on = converse(fd, session, session.received(data) if data else session.ended(), cell)
    except OSError as error:
        STATS.lost(error)
