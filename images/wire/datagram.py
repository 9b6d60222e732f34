"""The datagram wire: one request in one datagram, one answer in one datagram, matched by id.

A datagram is an id (8 bytes, big-endian) and a payload. UDP may lose, repeat and reorder: the id is how a
client tells which request an answer belongs to. The server keeps nothing between datagrams.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from wire._errors import ProtocolError

TRANSPORT = "udp"
SERVER_SPEAKS_FIRST = False

MAX_PAYLOAD_BYTES = 65507 - 8  # the largest UDP payload over IPv4 (RFC 768, RFC 791), less the id
_ID = struct.Struct(">Q")

__all__ = [
    "MAX_PAYLOAD_BYTES",
    "SERVER_SPEAKS_FIRST",
    "TRANSPORT",
    "Datagram",
    "ProtocolError",
    "decode",
    "encode",
]


class Datagram(NamedTuple):
    """One message: `id` in 0 … 2⁶⁴-1, chosen by the client and returned by the server."""

    id: int
    payload: bytes


def encode(id: int, payload: bytes) -> bytes:
    """Return the datagram of a request or an answer.

    Raises:
        ValueError: the payload does not fit in one datagram, or the id in 8 bytes.
    """
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"payload of {len(payload)} bytes; a datagram holds at most {MAX_PAYLOAD_BYTES}")
    if not 0 <= id < 1 << 64:
        raise ValueError(f"id {id} does not fit in 8 bytes")
    return _ID.pack(id) + payload


def decode(data: bytes) -> Datagram:
    """Return what a datagram says.

    Raises:
        ProtocolError: it is too short to hold an id.
    """
    if len(data) < 8:
        raise ProtocolError(f"datagram of {len(data)} bytes; at least 8 for the id")
    return Datagram(_ID.unpack_from(data)[0], data[8:])
