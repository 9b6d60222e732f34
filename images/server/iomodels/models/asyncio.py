"""I/O multiplexing behind callbacks: asyncio's event loop and its Protocol interface.

Underneath is epoll(7), level-triggered, in the loop's selector: compare ``epoll_lt.py``. With asyncio the
program does not contain that loop. The loop accepts, reads, and calls a protocol with the data
(``native/protocol.py``). A transport takes output, sends what the kernel takes, and keeps the remaining bytes
until the socket is writable. Each event passes through a queue of handles before its callback runs. That
queue, and the objects of each connection, are the extra cost per request.

Backpressure is a pair of callbacks: the transport calls `pause_writing` when it has to keep output (here:
from the first byte), and `resume_writing` when all of it is sent. Between the two this server does not read.

See epoll(7); Python's documentation, "Transports and Protocols".

A hidden cost: the transport receives into a buffer of 256 KiB. The C library gets a block of that size from
the kernel and gives it back for every message: mmap(2), mremap(2), munmap(2).

Traps: a callback that computes blocks the loop, so all connections wait. And files: the loop sets O_NONBLOCK
and its sendfile is a coroutine, so this server reads a file in parts and writes them instead.
"""

from __future__ import annotations

import asyncio
from typing import Any

from iomodels.listen import DRAIN_S, OUT_OF_RESOURCES, Listener, shutdown_reads
from iomodels.native.protocol import Connections
from iomodels.session import SessionFactory
from iomodels.stats import STATS, log


def serve(listener: Listener, new_session: SessionFactory) -> None:
    """Serve all connections from one event loop until the listener is stopped."""
    asyncio.run(run_server(listener, new_session))


async def run_server(listener: Listener, new_session: SessionFactory) -> None:
    """Accept until the stop, then let the answers in flight out."""
    loop = asyncio.get_running_loop()
    connections = Connections(new_session, STATS.new_counters(), listener.nodelay)
    stopped = asyncio.Event()
    listener.set_wakeup(lambda: loop.call_soon_threadsafe(stopped.set))
    loop.set_exception_handler(lambda loop, context: on_error(loop, context, listener))
    server = await loop.create_server(connections.new_protocol, sock=listener, backlog=listener.backlog)
    await stopped.wait()
    server.close()
    shutdown_reads(connection.fd for connection in connections)
    await connections.close_within(DRAIN_S)


def on_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any], listener: Listener) -> None:
    """Count the errors of accept(2) after which the loop pauses for a second; report all others."""
    error = context.get("exception")
    if isinstance(error, OSError) and error.errno in OUT_OF_RESOURCES:
        STATS.error("emfile", f"accept: {error.strerror}; the loop accepts again after a pause")
        return
    if isinstance(error, ValueError) and listener.fileno() == -1:
        log("info", "the server stopped while the loop paused accepting")
        return
    loop.default_exception_handler(context)
