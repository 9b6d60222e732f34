"""Listening, accepting and stopping: what all models share around their loop.

Facts about Linux that this code relies on:

* A connection inherits TCP_NODELAY from its listener: one setsockopt(2) is enough for all.
* shutdown(2) on a listening socket wakes every thread that waits for it, in accept, select, poll, epoll or
  for SIGIO, and accept then fails with EINVAL. This is how a server is stopped. On a UDP socket shutdown
  returns ENOTCONN, but wakes the thread too.
* accept(2) also returns pending errors of the new connection (ECONNABORTED, EPROTO, …): call it again.
* EMFILE leaves the connection in the queue, so the listener stays readable: a retry without a pause spins.
"""

from __future__ import annotations

import errno
import os
import resource
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator

from iomodels.session import Address
from iomodels.stats import STATS, Counters

DRAIN_S = 1.5  # how long answers in flight may take after the stop; the contract allows 2 s in all
ACCEPT_PAUSE_S = 0.1  # how long no connection is accepted after descriptors have run out
OUT_OF_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_CONNECTION_ERRORS = {
    errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.ENOPROTOOPT, errno.EHOSTDOWN, errno.ENONET,
    errno.EHOSTUNREACH, errno.EOPNOTSUPP, errno.ENETUNREACH, errno.ENETDOWN, errno.ETIMEDOUT,
}  # fmt: skip


class Listener(socket.socket):
    """A listening socket (for UDP: a bound one) that can stop the server.

    Attributes:
        backlog: the backlog that the kernel granted; 0 for UDP.
        nodelay: whether connections inherit TCP_NODELAY. A model whose library sets it has to check this.
        options: the model's own settings as text, with the defaults of the manifest.
        stopping: whether `stop` has been called.
    """

    def __init__(self, family: int = socket.AF_INET, type: int = socket.SOCK_STREAM) -> None:
        super().__init__(family, type)
        self.options: dict[str, str] = {}
        self.backlog = 0
        self.nodelay = True
        self.stopping = False
        self._wake: Callable[[], object] = self.shut_down

    def stop(self) -> None:
        """Stop accepting, and let the model send the answers in flight. For any thread or signal handler."""
        self.stopping = True
        self._wake()

    def set_wakeup(self, wake: Callable[[], object]) -> None:
        """Set the function by which `stop` wakes the model; by default `shut_down`."""
        self._wake = wake
        if self.stopping:  # the stop came first
            wake()

    def shut_down(self) -> None:
        """shutdown(2) the listener, which wakes every thread that waits for it."""
        is_udp = self.type == socket.SOCK_DGRAM  # answers are still to be sent through this socket
        try:
            self.shutdown(socket.SHUT_RD if is_udp else socket.SHUT_RDWR)
        except OSError as error:
            if error.errno != errno.ENOTCONN:  # UDP returns it, but has woken the threads
                raise


def bind(
    host: str, port: int, *, udp: bool, backlog: int, nodelay: bool, reuse_port: bool = False
) -> Listener:
    """Return a bound and, for TCP, listening socket.

    Raises:
        OSError: bind(2) or listen(2) failed.
    """
    listener = Listener(socket.AF_INET, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if not udp and nodelay:
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind((host, port))
        if not udp:
            listener.nodelay = nodelay
            listener.listen(backlog)
            listener.backlog = granted_backlog(backlog)
    except OSError:
        listener.close()
        raise
    return listener


def granted_backlog(backlog: int) -> int:
    """Return the backlog that listen(2) sets: it cuts to net.core.somaxconn without an error."""
    with open("/proc/sys/net/core/somaxconn", encoding="ascii") as file:  # noqa: PTH123
        return min(backlog, int(file.read()))


def raise_descriptor_limit() -> int:
    """Raise the soft limit of descriptors to the hard limit and return it (getrlimit(2), RLIMIT_NOFILE)."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def shutdown_reads(fds: Iterable[int]) -> None:
    """Make every connection read EOF after the bytes that have already arrived.

    shutdown(2) with SHUT_RD wakes a blocked read(2) and makes the socket readable. The model sees the same
    as if every peer had finished: it sends the answers and closes.
    """
    for fd in fds:
        shutdown_fd(fd, socket.SHUT_RD)


def shutdown_fd(fd: int, how: int) -> None:
    """Call shutdown(2) by descriptor number; ENOTCONN, after a reset by the peer, is no error."""
    borrowed = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=fd)
    try:
        borrowed.shutdown(how)
    except OSError as error:
        if error.errno != errno.ENOTCONN:
            raise
    finally:
        borrowed.detach()


class Acceptor:
    """Accepts connections for an event loop.

    Attributes:
        paused: descriptors have run out; do not accept for `ACCEPT_PAUSE_S`.
        stopped: the listener has been shut down; open connections may finish until `DRAIN_S` is over.
    """

    def __init__(self, listener: Listener, counters: Counters) -> None:
        listener.setblocking(False)
        self._listener = listener
        self._counters = counters
        self._deadline = 0.0
        self.paused = False
        self.stopped = False

    def accept_all(self) -> Iterator[tuple[int, Address]]:
        """Accept until EAGAIN; yield a non-blocking descriptor and the peer's address each."""
        self.paused = False
        while True:
            try:
                conn, address = self._listener.accept()
            except BlockingIOError:
                self._counters.eagain += 1
                return
            except OSError as error:
                if self._listener.stopping or error.errno == errno.EINVAL:  # it has been shut down
                    self.stopped = True
                    self._deadline = time.monotonic() + DRAIN_S
                    return
                if not _is_recoverable(error):
                    raise
                if error.errno in OUT_OF_RESOURCES:
                    self.paused = True
                    return
                continue
            self._counters.accepted += 1
            conn.setblocking(False)
            yield conn.detach(), address

    def finished(self, open_fds: Collection[int]) -> bool:
        """Return whether the server may leave its loop."""
        return self.stopped and (not open_fds or time.monotonic() > self._deadline)


def accept_blocking(listener: Listener, counters: Counters) -> Iterator[tuple[socket.socket, Address]]:
    """Yield each blocking connection with the peer's address, until the listener is stopped."""
    listener.setblocking(True)
    while True:
        try:
            conn, address = listener.accept()
        except OSError as error:
            if listener.stopping or error.errno == errno.EINVAL:  # it has been shut down
                return
            if not _is_recoverable(error):
                raise
            if error.errno in OUT_OF_RESOURCES:
                time.sleep(ACCEPT_PAUSE_S)
            continue
        counters.accepted += 1
        yield conn, address


class StopGuard:
    """Lets a stop end the blocking read or write of one connection.

    `listener`: its `stop` calls ours while the guard is entered; None if the caller connects the stop itself.

    The stop comes from another thread, or from a signal handler on the same thread: so the lock is reentrant.
    The lock keeps the stop from shutting down a descriptor number that was closed and used again.
    """

    def __init__(self, fd: int, listener: Listener | None = None) -> None:
        self._fd = fd
        self._listener = listener
        self._lock = threading.RLock()
        self._closed = False
        self._timer: threading.Timer | None = None

    def __enter__(self) -> StopGuard:
        if self._listener is not None:
            self._listener.set_wakeup(self.stop)
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._closed = True
        if self._listener is not None:
            self._listener.set_wakeup(self._listener.shut_down)
        if self._timer is not None:
            self._timer.cancel()

    def stop(self) -> None:
        """End a blocked read now, and a blocked write after `DRAIN_S`."""
        if self._listener is not None:
            self._listener.shut_down()
        self._timer = threading.Timer(DRAIN_S, self._shutdown, (socket.SHUT_RDWR,))
        self._timer.daemon = True
        self._timer.start()
        self._shutdown(socket.SHUT_RD)

    def _shutdown(self, how: int) -> None:
        with self._lock:
            if not self._closed:
                shutdown_fd(self._fd, how)


def disable_nodelay(fd: int) -> None:
    """Turn TCP_NODELAY off, where a library has turned it on by itself."""
    borrowed = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=fd)
    try:
        borrowed.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
    finally:
        borrowed.detach()


def close_all(fds: Iterable[int], counters: Counters) -> None:
    """Close descriptors that are still open, and count them as closed connections."""
    for fd in fds:
        os.close(fd)
        counters.closed += 1


def _is_recoverable(error: OSError) -> bool:
    """Count an error of accept(2) and return True if accepting can continue; False for all other errors."""
    if error.errno in OUT_OF_RESOURCES:
        STATS.error("emfile", f"accept: {error.strerror}; accepting again in {ACCEPT_PAUSE_S} s")
        return True
    if error.errno in _CONNECTION_ERRORS:
        STATS.error("aborted")
        return True
    return False
