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

from iomodels import anew
from iomodels.listen import Listener
from iomodels.native.children import Children
from iomodels.session import NewSession
from iomodels.stats import STATS, Attendant, as_json, emit, log

KILL_AFTER_S = 1.8  # models drain for 1.5 s; the contract allows 2

Serve = Callable[[Listener, NewSession], None]


def run(
    listeners: list[Listener], announce: Callable[[], None], serve: Serve, new_session: NewSession
) -> int:
    """Fork a worker per listener, wait for all to end, and return the exit code of the whole."""
    children = Children(len(listeners))
    for listener in listeners:
        if children.fork() == 0:
            os._exit(_work(listener, listeners, serve, new_session))
    stop = _Stop(children)
    announce()
    for listener in listeners:
        listener.close()  # or the kernel would go on queueing connections here that nobody accepts
    failed = False
    with Attendant(lambda: emit("stats", **as_json(STATS.totals())), stop) as attendant:
        while children:
            for pid, code in children.wait():
                if code or not stop.asked:
                    failed = True
                    log("error", f"worker {pid} ended with {code}")
                    stop()
    signal.setitimer(signal.ITIMER_REAL, 0)
    if attendant.anew and not failed:
        anew.begin()
    emit("stopped", **as_json(STATS.totals()))
    return 1 if failed else 0


class _Stop:
    """Passes the stop on once, and kills who does not end in time."""

    def __init__(self, children: Children) -> None:
        self.asked = False
        self._children = children
        signal.signal(signal.SIGALRM, lambda *_: children.signal(signal.SIGKILL))

    def __call__(self) -> None:
        if not self.asked:
            self.asked = True
            self._children.signal(signal.SIGTERM)
            signal.setitimer(signal.ITIMER_REAL, KILL_AFTER_S)


def _work(mine: Listener, listeners: list[Listener], serve: Serve, new_session: NewSession) -> int:
    """Be a worker: what the single process does, with the figures going to the parent."""
    try:
        for listener in listeners:
            if listener is not mine:
                listener.close()
        with Attendant(STATS.publish, mine.stop):
            serve(mine, new_session)
        STATS.publish()
    except BaseException:
        traceback.print_exc()
        return 1
    return 0
