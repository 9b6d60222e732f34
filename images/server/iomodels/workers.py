"""Several processes of one model, each with a listener of its own on the same port (SO_REUSEPORT, socket(7)).

The kernel distributes new connections over the listeners by a hash of the addresses. No process wakes up for
a connection of another, and each has its own descriptor table. A connection stays in the queue of its
listener: if the process ends before it accepts the connection, the connection is reset.
"""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections.abc import Callable

from iomodels import restart
from iomodels.listen import Listener
from iomodels.native.children import Children
from iomodels.session import SessionFactory
from iomodels.stats import STATS, STATS_SIGNAL, Reporter, emit_stats, log

KILL_AFTER_S = 1.8  # models drain for 1.5 s; the contract allows 2 s
PUBLISH_S, LOOK_S = 0.05, 0.0005  # for the workers to publish their counters, and between two looks

Serve = Callable[[Listener, SessionFactory], None]


def run(
    listeners: list[Listener], announce: Callable[[], None], serve: Serve, new_session: SessionFactory
) -> int:
    """Fork a worker per listener, wait until all have ended, and return the exit code of the server."""
    children = Children(len(listeners))
    for listener in listeners:
        if children.fork() == 0:
            os._exit(_run_worker(listener, listeners, serve, new_session))
    stop = _StopWorkers(children)
    announce()
    for listener in listeners:
        listener.close()  # else the kernel would queue connections here, where nobody accepts them
    failed = False
    with Reporter(lambda asked: emit_stats(asked=asked and _published(children)), stop) as reporter:
        while children:
            for pid, code in children.wait():
                if code or not stop.requested:
                    failed = True
                    log("error", f"worker {pid} ended with exit code {code}")
                    stop()
    signal.setitimer(signal.ITIMER_REAL, 0)
    if reporter.restart_requested and not failed:
        restart.execute()
    emit_stats("stopped")
    return 1 if failed else 0


def _published(children: Children) -> bool:
    """Have every worker publish its counters now; return whether all did, in time."""
    before = children.published()
    children.signal(STATS_SIGNAL)
    deadline_s = time.monotonic() + PUBLISH_S
    while any(now == before.get(pid) for pid, now in children.published().items()):
        if time.monotonic() > deadline_s:
            return False
        time.sleep(LOOK_S)
    return True


class _StopWorkers:
    """Sends SIGTERM to the workers, once, and SIGKILL to those that have not ended in time."""

    def __init__(self, children: Children) -> None:
        self.requested = False
        self._children = children
        signal.signal(signal.SIGALRM, lambda *_: children.signal(signal.SIGKILL))

    def __call__(self) -> None:
        if not self.requested:
            self.requested = True
            self._children.signal(signal.SIGTERM)
            signal.setitimer(signal.ITIMER_REAL, KILL_AFTER_S)


def _run_worker(mine: Listener, listeners: list[Listener], serve: Serve, new_session: SessionFactory) -> int:
    """Serve in a worker process, and publish the counters to the parent; return the exit code."""
    try:
        for listener in listeners:
            if listener is not mine:
                listener.close()
        with Reporter(lambda _: STATS.publish(), mine.stop):
            serve(mine, new_session)
        STATS.publish()
    except BaseException:
        traceback.print_exc()
        return 1
    return 0
