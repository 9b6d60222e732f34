"""The echo wire: length-prefixed frames.

A frame is the length of its payload (4 bytes, big-endian) and the payload; a length of 0 is valid. A request
is one frame, its answer is one frame, and answers come in the order of the requests.
"""

from __future__ import annotations

import struct

from wire._errors import ProtocolError

TRANSPORT = "tcp"
SERVER_SPEAKS_FIRST = False
DEFAULT_HANDLER = "echo"

MAX_PAYLOAD_BYTES = 1 << 20
_LENGTH = struct.Struct(">I")

__all__ = ["MAX_PAYLOAD_BYTES", "SERVER_SPEAKS_FIRST", "TRANSPORT", "FrameParser", "ProtocolError", "encode"]


def encode(payload: bytes) -> bytes:
    """Encode `payload` as one frame.

    Raises:
        ValueError: The payload is longer than `MAX_PAYLOAD_BYTES`.
    """
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"payload of {len(payload)} bytes; a frame holds at most {MAX_PAYLOAD_BYTES}")
    return _LENGTH.pack(len(payload)) + payload


class FrameParser:
    """Splits a byte stream into payloads; used by client and server."""

    __slots__ = ("_buffer", "_max_bytes")

    def __init__(self, max_payload_bytes: int = MAX_PAYLOAD_BYTES) -> None:
        self._max_bytes = max_payload_bytes
        self._buffer: bytearray | None = None  # None between frames: an idle connection keeps no buffer

    @property
    def incomplete(self) -> bool:
        """Whether part of a frame has arrived, so that an end of stream now would cut it."""
        return self._buffer is not None

    def feed(self, data: bytes) -> list[bytes]:
        """Parse the next bytes of the stream; return the payloads that they complete, in order.

        Raises:
            ProtocolError: A length above the maximum; `parsed` holds the payloads before it.
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
        """Return whether the first frame is complete, so that a long one is not copied at each read."""
        if len(buffer) < 4:
            return False
        length: int = _LENGTH.unpack_from(buffer)[0]
        if length > self._max_bytes:
            raise self._too_long(length, ())
        return len(buffer) >= 4 + length

    def _too_long(self, length: int, payloads: list[bytes] | tuple[()]) -> ProtocolError:
        return ProtocolError(f"frame of {length} bytes; at most {self._max_bytes}", parsed=payloads)
