"""I/O multiplexing behind callbacks, compiled: asyncio's interface on top of libuv.

The program is that of ``asyncio.py``: the same protocol class (``native/protocol.py``) and the same calls.
The loop underneath is libuv, the library of Node.js, bound by Cython. It waits with epoll(7) too,
level-triggered, but no Python code runs between an event and its callback. So the difference between the two
models is the price of a loop written in Python.

libuv waits with epoll_pwait(2). Where the kernel allows it, libuv passes changes of its epoll set through
io_uring, in batches: a few io_uring_enter(2) in the profile are these changes, not I/O.

See epoll(7); libuv's documentation, "Design overview"; uvloop's, "Using uvloop".

Trap: libuv keeps a spare descriptor. When no descriptor is left (EMFILE), it closes the spare, accepts the
connection, closes it, and opens the spare again. So a client beyond the limit loses its connection instead of
waiting in the queue, and no error is reported.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib import import_module

from iomodels.listen import DRAIN_S, Listener, shutdown_reads
from iomodels.native import MissingFeature
from iomodels.native.protocol import Connections
from iomodels.session import SessionFactory
from iomodels.stats import STATS


def serve(listener: Listener, new_session: SessionFactory) -> None:
    """Serve all connections from one event loop until the listener is stopped."""
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(run_server(listener, new_session))


def require() -> None:
    """Check that uvloop is installed.

    Raises:
        MissingFeature: it is not.
    """
    loop_factory()


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """Return the function that makes uvloop's event loops."""
    try:
        factory: Callable[[], asyncio.AbstractEventLoop] = import_module("uvloop").new_event_loop
    except ImportError as error:
        raise MissingFeature(f"the Python package uvloop is not installed ({error})") from error
    return factory


async def run_server(listener: Listener, new_session: SessionFactory) -> None:
    """Accept until the stop, then let the answers in flight out."""
    loop = asyncio.get_running_loop()
    connections = Connections(new_session, STATS.new_counters(), listener.nodelay)
    stopped = asyncio.Event()
    listener.set_wakeup(lambda: loop.call_soon_threadsafe(stopped.set))
    server = await loop.create_server(connections.new_protocol, sock=listener, backlog=listener.backlog)
    await stopped.wait()
    server.close()
    shutdown_reads(connection.fd for connection in connections)
    await connections.close_within(DRAIN_S)
