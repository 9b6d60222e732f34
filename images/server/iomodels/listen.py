"""Listening, accepting and stopping: what all models share around their loop.

Facts about accept(2) on Linux that everything here rests on:

* TCP_NODELAY is inherited from the listener: set once, no call per connection.
* shutdown(2) on a listening socket wakes whoever waits for it, in accept, select, poll, epoll or for SIGIO,
  and accept then fails with EINVAL. That is how a server is told to stop. On UDP it says ENOTCONN and wakes
  all the same.
* Errors that belong to the connection (ECONNABORTED, EPROTO, …) come out of accept: try the next one.
* EMFILE leaves the connection in the queue, so the listener stays readable: trying again at once spins.
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

DRAIN_S = 1.5  # how long answers in flight may take after the stop: the contract allows 2 s in all
REST_S = 0.1  # how long a listener is left alone when descriptors have run out
OUT_OF = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_OF_THE_CONNECTION = {
    errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.ENOPROTOOPT, errno.EHOSTDOWN, errno.ENONET,
    errno.EHOSTUNREACH, errno.EOPNOTSUPP, errno.ENETUNREACH, errno.ENETDOWN, errno.ETIMEDOUT,
}  # fmt: skip


class Listener(socket.socket):
    """A listening (or, for UDP, bound) socket that can be told to stop.

    Attributes:
        backlog: as the kernel granted it; 0 for UDP.
        nodelay: whether connections inherit TCP_NODELAY; for models whose library sets it by itself.
        options: the model's own settings, as text, defaults filled in from the manifest.
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
        """End the server: no new connections, answers in flight get out. For any thread, or a handler."""
        self.stopping = True
        self._wake()

    def wake_by(self, call: Callable[[], object]) -> None:
        """Say how to wake a model that waits for something else than the listener; `call` is for `stop`."""
        self._wake = call
        if self.stopping:  # the stop came first
            call()

    def shut_down(self) -> None:
        """Wake whoever waits for the listener: the way of `stop` unless the model says otherwise."""
        datagrams = self.type == socket.SOCK_DGRAM  # their answers still have to get out
        try:
            self.shutdown(socket.SHUT_RD if datagrams else socket.SHUT_RDWR)
        except OSError as error:
            if error.errno != errno.ENOTCONN:  # UDP says so, and wakes nevertheless
                raise


def bind(
    host: str, port: int, *, udp: bool, backlog: int, nodelay: bool, reuse_port: bool = False
) -> Listener:
    """Return a bound, listening socket.

    Raises:
        OSError: the address cannot be had.
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


def granted_backlog(asked: int) -> int:
    """Return what listen(2) makes of a backlog: it is cut to net.core.somaxconn, silently."""
    with open("/proc/sys/net/core/somaxconn", encoding="ascii") as file:  # noqa: PTH123
        return min(asked, int(file.read()))


def raise_descriptor_limit() -> int:
    """Raise the soft limit of descriptors to the hard one and return it (getrlimit(2), RLIMIT_NOFILE)."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def hang_up(fds: Iterable[int]) -> None:
    """Make every connection read its end, once what has already arrived is read.

    shutdown(2) with SHUT_RD wakes a blocked recv and makes the socket readable: to the model it is as if
    all peers had finished, and each connection ends on its usual way, its answers sent.
    """
    for fd in fds:
        shut(fd, socket.SHUT_RD)


def shut(fd: int, how: int) -> None:
    """shutdown(2) by descriptor number; a peer that is already gone is fine."""
    borrowed = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=fd)
    try:
        borrowed.shutdown(how)
    except OSError as error:
        if error.errno != errno.ENOTCONN:
            raise
    finally:
        borrowed.detach()


class Door:
    """The accepting side of an event loop.

    Attributes:
        resting: descriptors have run out; leave the listener alone for `REST_S`.
        ended: the listener has been stopped; what is open may finish until the drain is over.
    """

    def __init__(self, listener: Listener, cell: Counters) -> None:
        listener.setblocking(False)
        self._listener = listener
        self._cell = cell
        self._deadline = 0.0
        self.resting = False
        self.ended = False

    def accept(self) -> Iterator[tuple[int, Address]]:
        """Accept all that wait: a non-blocking descriptor and the peer's address each."""
        self.resting = False
        while True:
            try:
                conn, address = self._listener.accept()
            except BlockingIOError:
                self._cell.eagain += 1
                return
            except OSError as error:
                if self._listener.stopping or error.errno == errno.EINVAL:  # it has been shut down
                    self.ended = True
                    self._deadline = time.monotonic() + DRAIN_S
                    return
                if not _survivable(error):
                    raise
                if error.errno in OUT_OF:
                    self.resting = True
                    return
                continue
            self._cell.accepted += 1
            conn.setblocking(False)
            yield conn.detach(), address

    def over(self, streams: Collection[int]) -> bool:
        """Tell whether the server may leave its loop."""
        return self.ended and (not streams or time.monotonic() > self._deadline)


def connections(listener: Listener, cell: Counters) -> Iterator[tuple[socket.socket, Address]]:
    """Accept one blocking connection after the other until the listener is stopped."""
    listener.setblocking(True)
    while True:
        try:
            conn, address = listener.accept()
        except OSError as error:
            if listener.stopping or error.errno == errno.EINVAL:  # it has been shut down
                return
            if not _survivable(error):
                raise
            if error.errno in OUT_OF:
                time.sleep(REST_S)
            continue
        cell.accepted += 1
        yield conn, address


class Attention:
    """While a process sits in the read or write of one connection, a stop has to reach it there.

    Enter it with the connection's descriptor, and the listener if its `stop` is what ends this process. The
    stop comes from another thread, or from a handler in the midst of this one: hence the lock, which one
    thread may take twice. It keeps a stop from touching a descriptor that has just been closed and given out
    anew.
    """

    def __init__(self, fd: int, listener: Listener | None = None) -> None:
        self._fd = fd
        self._listener = listener
        self._lock = threading.RLock()
        self._over = False
        self._timer: threading.Timer | None = None

    def __enter__(self) -> Attention:
        if self._listener is not None:
            self._listener.wake_by(self.hang_up)
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._over = True
        if self._listener is not None:
            self._listener.wake_by(self._listener.shut_down)
        if self._timer is not None:
            self._timer.cancel()

    def hang_up(self) -> None:
        """End the read at once, and a write that nobody reads when the drain is over."""
        if self._listener is not None:
            self._listener.shut_down()
        self._timer = threading.Timer(DRAIN_S, self._shut, (socket.SHUT_RDWR,))
        self._timer.daemon = True
        self._timer.start()
        self._shut(socket.SHUT_RD)

    def _shut(self, how: int) -> None:
        with self._lock:
            if not self._over:
                shut(self._fd, how)


def nagle(fd: int) -> None:
    """Turn TCP_NODELAY off again, where a library has turned it on unasked."""
    borrowed = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=fd)
    try:
        borrowed.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
    finally:
        borrowed.detach()


def close_all(fds: Iterable[int], cell: Counters) -> None:
    """Close what is still open when the drain is over."""
    for fd in fds:
        os.close(fd)
        cell.closed += 1


def _survivable(error: OSError) -> bool:
    """Count an error of accept(2) after which accepting goes on; False for a bug."""
    if error.errno in OUT_OF:
        STATS.error("emfile", f"accept: {error.strerror}; resting {REST_S} s before the next try")
        return True
    if error.errno in _OF_THE_CONNECTION:
        STATS.error("aborted")
        return True
    return False
