"""Decoders for HTTP/1.1 message bodies: by length, chunked, or until close (RFC 9112 §6.3, §7.1).

A decoder removes its bytes from the front of a shared buffer. What is left belongs to the next message.
"""

from __future__ import annotations

import re
from typing import Protocol

from wire._errors import ProtocolError
from wire._http_head import MAX_HEAD_BYTES, parse_fields

MAX_CHUNK_LINE_BYTES = 256
_CHUNK_LINE = re.compile(r"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?")


class Body(Protocol):
    """Decodes one body; `content` holds the decoded bytes so far."""

    content: bytearray

    def feed(self, buffer: bytearray) -> bool:
        """Remove this body's bytes from the front of `buffer`; return whether the body is complete."""


class FixedLengthBody:
    """A body whose length Content-Length gives."""

    def __init__(self, length: int) -> None:
        self.content = bytearray()
        self._remaining = length

    def feed(self, buffer: bytearray) -> bool:
        """Take at most the remaining number of bytes."""
        part = buffer[: self._remaining]
        del buffer[: self._remaining]
        self.content += part
        self._remaining -= len(part)
        return not self._remaining


class UntilCloseBody:
    """A response body that ends when the server closes the connection."""

    def __init__(self, limit: int) -> None:
        self.content = bytearray()
        self._limit = limit

    def feed(self, buffer: bytearray) -> bool:
        """Take all bytes; never complete.

        Raises:
            ProtocolError: 413, the body is longer than the limit.
        """
        self.content += buffer
        buffer.clear()
        if len(self.content) > self._limit:
            raise ProtocolError(f"body longer than {self._limit} bytes", 413)
        return False


class ChunkedBody:
    """A chunked body. Chunk extensions are ignored; trailer fields are checked and dropped."""

    def __init__(self, limit: int) -> None:
        self.content = bytearray()
        self._limit = limit
        self._parse_next = self._parse_size_line
        self._remaining = 0
        self._trailer_bytes = 0
        self._trailers: list[str] = []

    def feed(self, buffer: bytearray) -> bool:
        """Decode as many chunks as the buffer holds.

        Raises:
            ProtocolError: 400 bad syntax, 413 body too long, 431 trailer section too long.
        """
        while True:
            done = self._parse_next(buffer)
            if done is not None:
                return done

    def _parse_size_line(self, buffer: bytearray) -> bool | None:
        line = _take_line(buffer, MAX_CHUNK_LINE_BYTES, 400)
        if line is None:
            return False
        match = _CHUNK_LINE.fullmatch(line)
        if match is None:
            raise ProtocolError(f"bad chunk size {line[:80]!r}", 400)
        self._remaining = int(match[1], 16)
        if len(self.content) + self._remaining > self._limit:
            raise ProtocolError(f"body longer than {self._limit} bytes", 413)
        self._parse_next = self._parse_data if self._remaining else self._parse_trailer
        return None

    def _parse_data(self, buffer: bytearray) -> bool | None:
        part = buffer[: self._remaining]
        del buffer[: self._remaining]
        self.content += part
        self._remaining -= len(part)
        if self._remaining:
            return False
        self._parse_next = self._parse_data_end
        return None

    def _parse_data_end(self, buffer: bytearray) -> bool | None:
        if not b"\r\n".startswith(buffer[:2]):
            raise ProtocolError("chunk data longer than the chunk size", 400)
        if len(buffer) < 2:
            return False
        del buffer[:2]
        self._parse_next = self._parse_size_line
        return None

    def _parse_trailer(self, buffer: bytearray) -> bool | None:
        line = _take_line(buffer, MAX_HEAD_BYTES, 431)
        if line is None:
            return False
        self._trailer_bytes += len(line) + 2
        if self._trailer_bytes > MAX_HEAD_BYTES:
            raise ProtocolError(f"trailer section longer than {MAX_HEAD_BYTES} bytes", 431)
        if line:
            self._trailers.append(line)
            return None
        parse_fields(self._trailers)
        return True


def _take_line(buffer: bytearray, limit: int, status: int) -> str | None:
    """Remove a CRLF line from the front of `buffer`; None if it is not complete yet."""
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
