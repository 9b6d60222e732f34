"""Bodies of HTTP/1.1 messages: by length, chunked, or until the peer closes (RFC 9112 §6.3, §7.1).

A body takes what belongs to it off the front of a shared buffer and leaves the rest, which is the next
message.
"""

from __future__ import annotations

import re
from typing import Protocol

from wire._errors import ProtocolError
from wire._http_head import MAX_HEAD_BYTES, parse_fields

MAX_CHUNK_LINE_BYTES = 256
_CHUNK_LINE = re.compile(r"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?")


class Body(Protocol):
    """A body that is still arriving."""

    content: bytearray

    def feed(self, buffer: bytearray) -> bool:
        """Take what is ours off the front of `buffer`; return whether the body is whole."""


class Sized:
    """A body of a known length."""

    def __init__(self, length: int) -> None:
        self.content = bytearray()
        self._missing = length

    def feed(self, buffer: bytearray) -> bool:
        """Take up to the missing number of bytes."""
        piece = buffer[: self._missing]
        del buffer[: self._missing]
        self.content += piece
        self._missing -= len(piece)
        return not self._missing


class UntilClose:
    """A response body that ends with the stream; never whole before that."""

    def __init__(self, limit: int) -> None:
        self.content = bytearray()
        self._limit = limit

    def feed(self, buffer: bytearray) -> bool:
        """Take everything."""
        self.content += buffer
        buffer.clear()
        if len(self.content) > self._limit:
            raise ProtocolError(f"body longer than {self._limit} bytes", 413)
        return False


class Chunked:
    """A body in chunks. Extensions are skipped; trailers are checked and dropped."""

    def __init__(self, limit: int) -> None:
        self.content = bytearray()
        self._limit = limit
        self._step = self._size_line
        self._missing = 0
        self._trailer_bytes = 0
        self._trailers: list[str] = []

    def feed(self, buffer: bytearray) -> bool:
        """Go through as many chunks as are there.

        Raises:
            ProtocolError: 400 bad syntax, 413 too long, 431 trailers too long.
        """
        while True:
            done = self._step(buffer)
            if done is not None:
                return done

    def _size_line(self, buffer: bytearray) -> bool | None:
        line = _cut_line(buffer, MAX_CHUNK_LINE_BYTES, 400)
        if line is None:
            return False
        found = _CHUNK_LINE.fullmatch(line)
        if found is None:
            raise ProtocolError(f"bad chunk size {line[:80]!r}", 400)
        self._missing = int(found[1], 16)
        if len(self.content) + self._missing > self._limit:
            raise ProtocolError(f"body longer than {self._limit} bytes", 413)
        self._step = self._data if self._missing else self._trailer
        return None

    def _data(self, buffer: bytearray) -> bool | None:
        piece = buffer[: self._missing]
        del buffer[: self._missing]
        self.content += piece
        self._missing -= len(piece)
        if self._missing:
            return False
        self._step = self._data_end
        return None

    def _data_end(self, buffer: bytearray) -> bool | None:
        if not b"\r\n".startswith(buffer[:2]):
            raise ProtocolError("chunk longer than its size", 400)
        if len(buffer) < 2:
            return False
        del buffer[:2]
        self._step = self._size_line
        return None

    def _trailer(self, buffer: bytearray) -> bool | None:
        line = _cut_line(buffer, MAX_HEAD_BYTES, 431)
        if line is None:
            return False
        self._trailer_bytes += len(line) + 2
        if self._trailer_bytes > MAX_HEAD_BYTES:
            raise ProtocolError(f"trailers longer than {MAX_HEAD_BYTES} bytes", 431)
        if line:
            self._trailers.append(line)
            return None
        parse_fields(self._trailers)
        return True


def _cut_line(buffer: bytearray, limit: int, status: int) -> str | None:
    """Take a CRLF line off the front of `buffer`; None if it is not whole yet."""
    end = buffer.find(b"\n", 0, limit + 2)
    if end < 0:
        if len(buffer) > limit + 1:
            raise ProtocolError(f"line longer than {limit} bytes inside a body", status)
        return None
    if buffer[end - 1 : end] != b"\r":
        raise ProtocolError("a line ends without CR inside a body", 400)
    line = buffer[: end - 1].decode("latin-1")
    del buffer[: end + 1]
    return line
