"""Blocking I/O, a thread per connection: the concurrent server.

Each thread is the iterative server with a single client. It may block as long as necessary: the scheduler
runs the other threads meanwhile. The code stays sequential, and all CPUs can work. (In Python only one thread
at a time holds the interpreter lock; every blocking call releases it.)

Each connection costs a kernel thread with its stacks: 16 KiB in the kernel, and in user space the touched
pages of the stack below (128 KiB reserved). Each request costs two context switches and one acquisition of
the interpreter lock. The number of threads is limited by pids.max of the cgroup, kernel.threads-max, and
vm.max_map_count (two mappings a thread).

See pthreads(7), clone(2), pthread_attr_setstacksize(3); UNIX Network Programming 1, §26.

Traps: a thread that cannot be started (EAGAIN) must cost only its connection, not the server. And a Python
thread that waits for the interpreter lock wakes up at every switch interval (5 ms) to request it: with
thousands of threads the machine does nothing else. Threads of this server release the lock in every call
anyway, so the interval may be long.
"""

from __future__ import annotations

import os
import sys
import threading
import time

from iomodels.listen import DRAIN_S, Listener, accept_blocking, shutdown_reads
from iomodels.session import READ_BYTES, Session, SessionFactory, run_effects
from iomodels.stats import STATS, Counters

STACK_BYTES = 128 << 10
SWITCH_INTERVAL_S = 0.5


def serve(listener: Listener, new_session: SessionFactory) -> None:
    """Start a thread for each connection until the listener is stopped, then wait for them to finish."""
    threading.stack_size(STACK_BYTES)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    counters = STATS.new_counters()
    threads: dict[int, threading.Thread] = {}
    closing = threading.Lock()  # held while a number is closed: a stop must not shut it down after its reuse

    def run_thread(fd: int, session: Session) -> None:
        with STATS.thread_counters() as own:
            try:
                serve_connection(fd, session, own)
            finally:
                own.closed += 1
                with closing:
                    del threads[fd]  # before close(2): accept(2) may return the same number at once
                    os.close(fd)

    for conn, address in accept_blocking(listener, counters):
        fd = conn.detach()
        arguments = (fd, new_session(address))
        thread = threads[fd] = threading.Thread(target=run_thread, args=arguments, daemon=True)
        counters.update_open_peak(len(threads))
        try:
            thread.start()
        except RuntimeError:
            STATS.error("refused_limit", f"no more threads at {len(threads) - 1} connections")
            del threads[fd]
            os.close(fd)
            counters.closed += 1
    deadline = time.monotonic() + DRAIN_S
    with closing:
        shutdown_reads(threads)
    for thread in list(threads.values()):
        thread.join(max(0.0, deadline - time.monotonic()))


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
