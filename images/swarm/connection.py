"""One connection of the swarm, and how it comes about.

A connect that does not wait (connect(2), EINPROGRESS) ends when the socket becomes writable; SO_ERROR then
tells how. From there on the engine needs the descriptor alone: `os.read` and `os.write` cost less than a
socket's methods and a socket object more memory than the whole `Connection`.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator, Sequence
from itertools import cycle, repeat

from .errors import SwarmError
from .exchange import Reader
from .ledger import Second

IP_BIND_ADDRESS_NO_PORT = 24  # <linux/in.h>; in Python's socket module from 3.12 on


class Connection:
    """A user's connection; `second` is that of the request in flight, if there is one."""

    __slots__ = (
        "answered",
        "ending",
        "failures",
        "fd",
        "gone",
        "holds",
        "intended_s",
        "part_sent_s",
        "reader",
        "rest",
        "second",
        "sent_s",
        "socket",
    )

    def __init__(self, failures: int = 0, *, answered: bool = False, holds: bool = False) -> None:
        self.fd = -1
        self.socket: socket.socket | None = None  # only until it is connected
        self.second: Second | None = None
        self.intended_s = self.sent_s = self.part_sent_s = 0.0
        self.reader: Reader | None = None  # only while an answer has begun and not ended
        self.rest = b""  # of a request that the kernel did not take whole
        self.answered = answered  # its user has had an answer before
        self.ending = False  # all is said; the peer's end of stream is awaited
        self.gone = False
        self.holds = holds  # idle for ever: it is never given to the load
        self.failures = failures  # in a row


class Dialler:
    """Opens sockets to one target, spread over the source addresses it may use.

    A source address has some 28,000 ports towards one target (ip(7), ip_local_port_range).
    IP_BIND_ADDRESS_NO_PORT leaves the choice of the port to connect(2), which knows the target; bind(2)
    would use up a port for all targets.
    """

    def __init__(self, host: str, port: int, transport: str, sources: Sequence[str] = ()) -> None:
        kind = socket.SOCK_STREAM if transport == "tcp" else socket.SOCK_DGRAM
        try:
            found = socket.getaddrinfo(host, port, socket.AF_INET, kind)
        except socket.gaierror as error:
            raise SwarmError(f"cannot find the target {host!r}: {error.strerror}") from error
        family, _, self._protocol, _, address = found[0]
        self._family, self._kind = family, kind
        self._address = (str(address[0]), int(address[1]))
        self._sources: Iterator[str | None] = cycle(sources) if sources else repeat(None)

    def dial(self) -> socket.socket:
        """Return a socket that is connecting. Raises `OSError` if the kernel refuses at once."""
        dialling = socket.socket(self._family, self._kind | socket.SOCK_NONBLOCK, self._protocol)
        try:
            self._prepare(dialling)
            code = dialling.connect_ex(self._address)
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, os.strerror(code))
        except OSError:
            dialling.close()
            raise
        return dialling

    def _prepare(self, dialling: socket.socket) -> None:
        if self._kind == socket.SOCK_STREAM:
            dialling.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        source = next(self._sources)
        if source is not None:
            dialling.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            dialling.bind((source, 0))


def finish_connecting(dialling: socket.socket) -> int:
    """Return the descriptor of a socket that became writable. Raises `OSError` if the connect failed."""
    code = dialling.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))
    return dialling.detach()
