"""Several processes of one model, each with a listener of its own on the same port (SO_REUSEPORT, socket(7)).

The kernel spreads new connections over the listeners by a hash of the addresses: no process wakes for
another's connection, and each has a descriptor table of its own. A connection stays where it was queued,
though: one that waits in the queue of a process that ends is reset.
"""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable

from iomodels.listen import Listener
from iomodels.native.process import die_with
from iomodels.session import NewSession
from iomodels.stats import STATS, Reporter, as_json, emit, log

KILL_AFTER_S = 1.8  # models drain for 1.5 s; the contract allows 2
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)

Serve = Callable[[Listener, NewSession], None]


def run(
    listeners: list[Listener], announce: Callable[[], None], serve: Serve, new_session: NewSession
) -> int:
    """Fork a worker per listener, wait for all to end, and return the exit code of the whole."""
    rows = STATS.share(len(listeners))
    children: dict[int, int] = {}
    parent_pid = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # none may come between fork and the child's handlers
    for listener in listeners:
        row = rows.take()
        assert row is not None
        pid = STATS.fork(row)
        if pid == 0:
            die_with(parent_pid)
            os._exit(_work(listener, listeners, serve, new_session))
        children[pid] = row
    family = _Family(children)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    announce()
    for listener in listeners:
        listener.close()  # or the kernel would go on queueing connections here that nobody accepts
    with Reporter(lambda: emit("stats", **as_json(STATS.totals()))):
        failed = family.wait()
    emit("stopped", **as_json(STATS.totals()))
    return 1 if failed else 0


def _work(mine: Listener, listeners: list[Listener], serve: Serve, new_session: NewSession) -> int:
    """Be a worker: what the single process does, with the figures going to the parent."""
    try:
        for listener in listeners:
            if listener is not mine:
                listener.close()
        signal.signal(signal.SIGTERM, lambda *_: mine.stop())
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the parent passes it on
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        with Reporter(STATS.publish):
            serve(mine, new_session)
        STATS.publish()
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


class _Family:
    """The parent's side: passes the stop on, reaps, and kills who does not end in time."""

    def __init__(self, children: dict[int, int]) -> None:
        self._children = children
        self._stopping = False
        signal.signal(signal.SIGTERM, lambda *_: self._stop())
        signal.signal(signal.SIGINT, lambda *_: self._stop())
        signal.signal(signal.SIGALRM, lambda *_: self._signal(signal.SIGKILL))

    def wait(self) -> bool:
        """Reap all children; return whether one of them failed."""
        failed = False
        while self._children:
            pid, status = os.waitpid(-1, 0)
            STATS.reaped(self._children.pop(pid))
            if status or not self._stopping:
                failed = True
                log("error", f"worker {pid} ended with {os.waitstatus_to_exitcode(status)}")
                self._stop()
        signal.setitimer(signal.ITIMER_REAL, 0)
        return failed

    def _stop(self) -> None:
        if not self._stopping:
            self._stopping = True
            self._signal(signal.SIGTERM)
            signal.setitimer(signal.ITIMER_REAL, KILL_AFTER_S)

    def _signal(self, number: int) -> None:
        for pid in list(self._children):
            os.kill(pid, number)
