"""The datagram wire: one request per datagram, one answer per datagram, matched by id.

A datagram is an id (8 bytes, big-endian) and a payload. UDP may lose, duplicate and reorder datagrams, so the
client finds the request of an answer by its id. The server keeps no state between datagrams.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from wire._errors import ProtocolError

TRANSPORT = "udp"
SERVER_SPEAKS_FIRST = False
DEFAULT_HANDLER = "echo"

MAX_PAYLOAD_BYTES = 65507 - 8  # largest UDP payload over IPv4 (RFC 768, RFC 791) minus the id
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
    """One message; the client chooses `id` (0 … 2⁶⁴-1), the server returns it."""

    id: int
    payload: bytes


def encode(id: int, payload: bytes) -> bytes:
    """Encode a request or an answer.

    Raises:
        ValueError: The payload does not fit in one datagram, or the id not in 8 bytes.
    """
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"payload of {len(payload)} bytes; a datagram holds at most {MAX_PAYLOAD_BYTES}")
    if not 0 <= id < 1 << 64:
        raise ValueError(f"id {id} does not fit in 8 bytes")
    return _ID.pack(id) + payload


def decode(data: bytes) -> Datagram:
    """Decode a request or an answer.

    Raises:
        ProtocolError: The datagram is too short to hold an id.
    """
    if len(data) < 8:
        raise ProtocolError(f"datagram of {len(data)} bytes; the id alone takes 8")
    return Datagram(_ID.unpack_from(data)[0], data[8:])
