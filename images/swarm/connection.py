"""One connection of the swarm, and how it is opened.

A non-blocking connect (connect(2), EINPROGRESS) is over when the socket becomes writable; SO_ERROR then
says whether it succeeded. After that the engine keeps only the descriptor: `os.read` and `os.write` cost
less than the methods of a socket, and a socket object takes more memory than the whole `Connection`.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator, Sequence
from itertools import cycle, repeat

from .errors import SwarmError
from .exchange import Reader
from .seconds import Second

IP_BIND_ADDRESS_NO_PORT = 24  # <linux/in.h>; in Python's socket module from 3.12 on


class Connection:
    """A user's connection; `second` counts the request in flight, None if there is none."""

    __slots__ = (
        "answered",
        "closed",
        "closing",
        "failures",
        "fd",
        "intended_s",
        "part_sent_s",
        "reader",
        "second",
        "sent_s",
        "served",
        "socket",
        "stays_idle",
        "unsent",
    )

    def __init__(
        self, failures: int = 0, *, answered: bool = False, served: bool = False, stays_idle: bool = False
    ) -> None:
        self.fd = -1
        self.socket: socket.socket | None = None  # only while connecting
        self.second: Second | None = None
        self.intended_s = self.sent_s = self.part_sent_s = 0.0
        self.reader: Reader | None = None  # only while an answer is incomplete
        self.unsent = b""  # rest of a request that write(2) did not take whole
        self.answered = answered  # it has carried an answer, or the connection before it has
        self.served = served  # as `answered`, or its user has held a connection for a while; kept on failure
        self.closing = False  # nothing more to send; waits for the peer's end of stream
        self.closed = False
        self.stays_idle = stays_idle  # an idle client: its connection is never used
        self.failures = failures  # of this user, in a row


class Dialler:
    """Opens sockets to one target, from its source addresses in turn.

    A source address has some 28,000 ports towards one target (ip(7), ip_local_port_range).
    IP_BIND_ADDRESS_NO_PORT leaves the choice of the port to connect(2), which knows the target: the same
    port may then be used towards another one. bind(2) alone would take the port for all targets.

    Raises:
        SwarmError: The target's name does not resolve.
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
        """Return a socket that is connecting.

        Raises:
            OSError: connect(2) fails at once.
        """
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
    """Return the descriptor of a connecting socket that became writable.

    Raises:
        OSError: The connect failed.
    """
    code = dialling.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))
    return dialling.detach()
