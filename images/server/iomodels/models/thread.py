"""Blocking I/O, a thread per connection: the concurrent server.

Each thread is the iterative server with a single client: it may block as long as it likes, the scheduler
runs the others meanwhile. The program stays straight, and all CPUs can work (in Python, one at a time holds
the interpreter lock, which every blocking call gives up).

What a connection costs here: a kernel thread with its stacks (16 KiB in the kernel, the touched pages of
the one below in user space, 128 KiB reserved), and for each request two context switches and a turn at the
lock. The number of threads is limited by pids.max of the cgroup, kernel.threads-max, and vm.max_map_count
(two mappings a thread).

See pthreads(7), clone(2), pthread_attr_setstacksize(3); UNIX Network Programming 1, §26.

Traps: a thread that cannot be started (EAGAIN) must cost its connection, not the server. And a Python thread
that waits for the interpreter lock wakes up at every switch interval (5 ms) to ask for it: with thousands
that is all the machine does. These threads give up the lock at every call anyway, so the interval may be
long.
"""

from __future__ import annotations

import os
import sys
import threading
import time

from iomodels.listen import DRAIN_S, Listener, connections, hang_up
from iomodels.session import READ_BYTES, NewSession, Session, converse
from iomodels.stats import STATS, Counters

STACK_BYTES = 128 << 10
SWITCH_INTERVAL_S = 0.5


def serve(listener: Listener, new_session: NewSession) -> None:
    """Start a thread for each connection until the listener is stopped, then wait for them to finish."""
    threading.stack_size(STACK_BYTES)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    cell = STATS.cell()
    talks: dict[int, threading.Thread] = {}
    closing = threading.Lock()  # nobody hangs up on a number that another has just closed

    def talk(fd: int, session: Session) -> None:
        with STATS.thread_cell() as mine:
            try:
                serve_one(fd, session, mine)
            finally:
                mine.closed += 1
                with closing:
                    del talks[fd]  # before close: the number may be given out again at once
                    os.close(fd)

    for conn, address in connections(listener, cell):
        fd = conn.detach()
        thread = talks[fd] = threading.Thread(target=talk, args=(fd, new_session(address)), daemon=True)
        cell.saw_open(len(talks))
        try:
            thread.start()
        except RuntimeError:
            STATS.error("refused_limit", f"no more threads at {len(talks) - 1} connections")
            del talks[fd]
            os.close(fd)
            cell.closed += 1
    deadline = time.monotonic() + DRAIN_S
    with closing:
        hang_up(talks)
    for thread in list(talks.values()):
        thread.join(max(0.0, deadline - time.monotonic()))


def serve_one(fd: int, session: Session, cell: Counters) -> None:
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
