"""Shorten names, without collisions."""

from __future__ import annotations

import zlib


def shortened(text: str, length: int) -> str:
    """Return `text` in at most `length` characters; a longer one ends in its checksum."""
    if len(text) <= length:
        return text
    return f"{text[: length - 9]}-{zlib.crc32(text.encode()):08x}"
