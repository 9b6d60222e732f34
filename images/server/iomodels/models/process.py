"""Blocking I/O, a process per connection: the oldest concurrent server.

The parent accepts and forks; the child serves the one connection, iteratively, and exits. The processes share
nothing, so a crash costs one connection and corrupts no other. All CPUs work at once, as each process has its
own interpreter.

fork(2) copies the page tables, not the pages: parent and child share a page until one of them writes to it
(copy on write). Python writes to many pages, as it counts references: a child that serves ends up with about
1.4 MiB of its own. This memory, and pids.max of the cgroup, limit the connections. This server forks as many
children as fit into its memory, and refuses further connections.

A child that has ended is a zombie until its parent waits for it. The kernel sends SIGCHLD, but pending
signals of one kind merge: so a handler has to call waitpid(2) in a loop, without blocking.

See fork(2), wait(2), signal(7), prctl(2); UNIX Network Programming 1, §5.9 and §30.6.

Trap: fork copies the descriptors. The parent has to close the connection, or the peer never sees its end. The
child has to close the listener (close, not shutdown, which would stop the parent).
"""

from __future__ import annotations

import os
import signal
import socket
import traceback

from iomodels.listen import DRAIN_S, Listener, StopGuard, accept_blocking
from iomodels.native.children import Children, max_children, set_child_signals
from iomodels.session import READ_BYTES, Session, SessionFactory, run_effects
from iomodels.stats import STATS, Counters, UsageSampler

CHILD_BYTES = 1_500_000
MAX_CHILDREN = 16_384


def serve(listener: Listener, new_session: SessionFactory) -> None:
    """Fork for each connection until the listener is stopped, then wait for the children."""
    counters = STATS.new_counters()
    children = Children(max_children(CHILD_BYTES, MAX_CHILDREN))
    signal.signal(signal.SIGCHLD, lambda *_: children.reap())
    for conn, address in accept_blocking(listener, counters):
        collect_children(children, counters)
        try:
            if children.fork() == 0:
                os._exit(run_child(listener, conn, new_session(address)))
        except OSError as error:
            STATS.error("refused_limit", f"fork at {len(children)} children: {error.strerror}")
            counters.closed += 1
        conn.close()
        counters.update_open_peak(len(children))
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    collect_children(children, counters)
    children.signal(signal.SIGTERM)
    children.wait_or_kill(DRAIN_S + 0.2)
    collect_children(children, counters)


def collect_children(children: Children, counters: Counters) -> None:
    """Add up the counters of children that have ended; a crash has closed its connection too."""
    for pid, code in children.take_ended():
        if code:
            STATS.error("crashed", f"child {pid} ended with exit code {code}")
            counters.closed += 1


def run_child(listener: Listener, conn: socket.socket, session: Session) -> int:
    """Serve the connection in a child; return the exit code."""
    try:
        listener.close()
        counters = STATS.use_shared_counters()
        usage = UsageSampler(counters)
        with StopGuard(conn.fileno()) as guard:
            set_child_signals(guard.stop)
            serve_connection(conn.fileno(), session, counters, usage)
        conn.close()
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
