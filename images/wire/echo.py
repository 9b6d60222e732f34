"""The echo wire: frames with their length in front (4 bytes, big-endian), then the payload.

A length of 0 is a frame too. Nothing else is on the wire: a request is a frame, its answer is a frame,
answers come in the order of the requests.
"""

from __future__ import annotations

import struct

from wire._errors import ProtocolError

TRANSPORT = "tcp"
SERVER_SPEAKS_FIRST = False

MAX_PAYLOAD_BYTES = 1 << 20
_LENGTH = struct.Struct(">I")

__all__ = ["MAX_PAYLOAD_BYTES", "SERVER_SPEAKS_FIRST", "TRANSPORT", "FrameParser", "ProtocolError", "encode"]


def encode(payload: bytes) -> bytes:
    """Return `payload` as one frame.

    Raises:
        ValueError: the payload is longer than `MAX_PAYLOAD_BYTES`.
    """
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"payload of {len(payload)} bytes; a frame holds at most {MAX_PAYLOAD_BYTES}")
    return _LENGTH.pack(len(payload)) + payload


class FrameParser:
    """Cuts a byte stream into payloads; both ends use it."""

    __slots__ = ("_buffer", "_max_bytes")

    def __init__(self, max_payload_bytes: int = MAX_PAYLOAD_BYTES) -> None:
        self._max_bytes = max_payload_bytes
        self._buffer: bytearray | None = None  # only while a frame is incomplete: idle connections stay small

    @property
    def midway(self) -> bool:
        """Whether a frame has begun and not ended: an end of stream now would cut it."""
        return self._buffer is not None

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes as they come and return the payloads that are complete, in order.

        Raises:
            ProtocolError: a length above the maximum; `parsed` holds the payloads before it.
        """
        if self._buffer is not None:
            self._buffer += data
            data = bytes(self._buffer) if self._is_complete(self._buffer) else b""
            if not data:
                return []
            self._buffer = None
        payloads: list[bytes] = []
        start, size = 0, len(data)
        while start + 4 <= size:
            (length,) = _LENGTH.unpack_from(data, start)
            if length > self._max_bytes:
                raise self._too_long(length, payloads)
            if start + 4 + length > size:
                break
            payloads.append(data[start + 4 : start + 4 + length])
            start += 4 + length
        if start < size:
            self._buffer = bytearray(data[start:])
        return payloads

    def _is_complete(self, buffer: bytearray) -> bool:
        """Tell whether the first frame is there, so that a long one is not copied at every read."""
        if len(buffer) < 4:
            return False
        length: int = _LENGTH.unpack_from(buffer)[0]
        if length > self._max_bytes:
            raise self._too_long(length, ())
        return len(buffer) >= 4 + length

    def _too_long(self, length: int, payloads: list[bytes] | tuple[()]) -> ProtocolError:
        return ProtocolError(f"frame of {length} bytes; at most {self._max_bytes}", parsed=payloads)
