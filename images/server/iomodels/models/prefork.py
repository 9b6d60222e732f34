"""Blocking I/O, pre-forked: a fixed number of processes, all in accept on one listener.

Each child is the iterative server. fork(2) is paid for at the start, not for every connection. There are as
many connections served at a time as there are children; the others wait in the listen queue.

All children sleep in accept(2) on the same socket. Since Linux 2.3 the kernel wakes only one of them for a
connection, the one that has slept longest (an exclusive wait). So there is no thundering herd, and the
children take turns. With `workers: N` each worker has its own children and its own listener (SO_REUSEPORT,
socket(7)).

The parent does not accept: it waits for children that die, and replaces them.

See fork(2), accept(2), wait(2); UNIX Network Programming 1, §30.6–30.9.

Trap: the children share the listener, so a shutdown(2) of it stops them all. This server stops its children
in this way.
"""

from __future__ import annotations

import os
import signal
import traceback

from iomodels.listen import DRAIN_S, Listener, StopGuard, accept_blocking
from iomodels.native.children import Children, set_child_signals
from iomodels.session import READ_BYTES, Session, SessionFactory, run_effects
from iomodels.stats import STATS, Counters, UsageSampler

RESPAWN_PAUSE_S = 0.1  # children that die at once must not keep the parent busy with fork(2)


def serve(listener: Listener, new_session: SessionFactory) -> None:
    """Keep the number of children until the listener is stopped, then wait for them to end."""
    count = int(listener.options["processes"])
    children = Children(count)
    listener.set_wakeup(lambda: stop_children(listener, children))
    while not listener.stopping:
        while len(children) < count and not listener.stopping:
            if children.fork() == 0:
                os._exit(run_child(listener, new_session))
        for pid, code in children.wait():
            if not listener.stopping:
                STATS.error("crashed", f"child {pid} ended with exit code {code}; replaced")
                signal.sigtimedwait((), RESPAWN_PAUSE_S)
    children.wait_or_kill(DRAIN_S + 0.2)


def stop_children(listener: Listener, children: Children) -> None:
    """Stop all children: SIGTERM ends a read, the shutdown of the listener ends an accept."""
    children.signal(signal.SIGTERM)
    listener.shut_down()


def run_child(listener: Listener, new_session: SessionFactory) -> int:
    """Serve one connection after the other in a child; return the exit code."""
    try:
        listener.set_wakeup(listener.shut_down)
        set_child_signals(listener.stop)
        counters = STATS.use_shared_counters()
        usage = UsageSampler(counters)
        for conn, address in accept_blocking(listener, counters):
            counters.update_open_peak(1)
            with conn, StopGuard(conn.fileno(), listener):
                serve_connection(conn.fileno(), new_session(address), counters, usage)
            counters.closed += 1
        usage.clear()
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def serve_connection(fd: int, session: Session, counters: Counters, usage: UsageSampler) -> None:
    """Serve one connection until it closes."""
    try:
        is_open = run_effects(fd, session, session.opened(), counters)
        while is_open:
            usage.sample()
            data = os.read(fd, READ_BYTES)
            counters.wakeups += 1
            counters.ready += 1
            counters.bytes_in += len(data)
            effects = session.received(data) if data else session.eof()
            is_open = run_effects(fd, session, effects, counters)
    except OSError as error:
        STATS.connection_lost(error)
