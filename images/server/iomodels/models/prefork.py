"""Blocking I/O, pre-forked: a fixed family of processes, all in accept on one listener.

Each child is the iterative server. The fork is paid for once, at the start, not per connection; the number of
children is the number of connections that are served at a time, and the rest wait in the listen queue.

All children sleep in accept(2) on the same socket. Since Linux 2.3 the kernel wakes one of them for a
connection, the one that has slept longest (an exclusive wait): there is no thundering herd, and the work goes
round. With `workers: N` each worker has a family and a listener of its own (SO_REUSEPORT, socket(7)).

The parent accepts nothing: it waits for children that die, and replaces them.

See fork(2), accept(2), wait(2); UNIX Network Programming 1, §30.6–30.9.

Trap: the children share the listener, so a shutdown(2) of it stops them all. Here that is how the family
ends.
"""

from __future__ import annotations

import os
import signal
import traceback

from iomodels.listen import DRAIN_S, Attention, Listener, connections
from iomodels.native.children import Children, grown_up
from iomodels.session import READ_BYTES, NewSession, Session, converse
from iomodels.stats import STATS, Counters, UsageClock

RESPAWN_S = 0.1  # a child that dies at once must not keep the parent forking


def serve(listener: Listener, new_session: NewSession) -> None:
    """Keep the family complete until the listener is stopped, then wait for it."""
    size = int(listener.options["processes"])
    children = Children(size)
    listener.wake_by(lambda: end_family(listener, children))
    while not listener.stopping:
        while len(children) < size and not listener.stopping:
            if children.fork() == 0:
                os._exit(child(listener, new_session))
        for pid, code in children.wait():
            if not listener.stopping:
                STATS.error("crashed", f"child {pid} ended with {code}; replaced")
                signal.sigtimedwait((), RESPAWN_S)
    children.end(DRAIN_S + 0.2)


def end_family(listener: Listener, children: Children) -> None:
    """Stop them all: each by its signal, those in accept by the listener's end."""
    children.signal(signal.SIGTERM)
    listener.shut_down()


def child(listener: Listener, new_session: NewSession) -> int:
    """Serve one connection after the other; return the exit code."""
    try:
        listener.wake_by(listener.shut_down)
        grown_up(listener.stop)
        cell = STATS.use_shared_cell()
        clock = UsageClock(cell)
        for conn, address in connections(listener, cell):
            cell.saw_open(1)
            with conn, Attention(conn.fileno(), listener):
                talk(conn.fileno(), new_session(address), cell, clock)
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
