"""HdrHistograms as text: base64 of a header and a zlib stream, which holds settings and the counts of slots.

Source: HdrHistogram's V2 encoding (HdrHistogram.java, `encodeIntoByteBuffer`).
"""

from __future__ import annotations

import base64
import struct
import zlib
from array import array
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

V2, V2_COMPRESSED = 0x1C849313, 0x1C849304  # cookies; bits 4 to 7 hold the word size, which is 8 bytes inside
WORD_SIZE_BITS = 0xF0
OUTER = struct.Struct(">II")  # cookie, length of the rest
# Cookie, length of the counts, offset, digits, lowest and highest value, conversion ratio.
INNER = struct.Struct(">IIIIQQd")
# All histograms of a swarm: 1 µs to 600 s, three digits. So slots of different ones mean the same times.
LOWEST_US, HIGHEST_US, DIGITS = 1, 600_000_000, 3
SETTINGS = (0, DIGITS, LOWEST_US, HIGHEST_US)
MOST_SLOTS = 21 * 1024
_LONGEST = 9  # bytes of a count
MOST_SAMPLES = (1 << 63) - 1


class Slots(NamedTuple):
    """The slots that are not empty, by ascending number, and their counts."""

    numbers: array[int]
    counts: array[int]


@lru_cache(maxsize=4096)
def slots(text: str) -> Slots:
    """Decode a histogram. Raises ValueError for what is none, or has other settings than a swarm's."""
    body = _counts(_inflated(_compressed(text)))
    numbers, counts, number = array("H"), array("q"), 0
    for value in _signed(body):
        if value > 0:
            numbers.append(number)
            counts.append(value)
        number += max(1, -value)  # a value below 0 is a run of so many empty slots
        if number > MOST_SLOTS:
            raise ValueError("no histogram: it has too many slots")
    if sum(counts) > MOST_SAMPLES:
        raise ValueError("no histogram: it has too many samples")
    return Slots(numbers, counts)


def _compressed(text: str) -> bytes:
    raw = base64.b64decode(text, validate=True)
    if len(raw) < OUTER.size:
        raise ValueError("no histogram: it has no header")
    cookie, length = OUTER.unpack_from(raw)
    if cookie & ~WORD_SIZE_BITS != V2_COMPRESSED or length != len(raw) - OUTER.size:
        raise ValueError("no histogram: its header is of something else")
    return raw[OUTER.size :]


def _inflated(compressed: bytes) -> bytes:
    """Return the whole stream, whose checksum zlib compares. More bytes than all slots take are refused."""
    stream = zlib.decompressobj()
    try:
        inflated = stream.decompress(compressed, INNER.size + _LONGEST * MOST_SLOTS)
    except zlib.error as error:
        raise ValueError(f"no histogram: {error}") from None
    if not stream.eof or stream.unused_data:
        raise ValueError("no histogram: its stream is cut off, or too long")
    return inflated


def _counts(inflated: bytes) -> bytes:
    if len(inflated) < INNER.size:
        raise ValueError("no histogram: it has no settings")
    cookie, length, *settings, _ratio = INNER.unpack_from(inflated)
    if cookie != V2 or length != len(inflated) - INNER.size:
        raise ValueError("no histogram: its settings are of something else")
    if tuple(settings) != SETTINGS:
        raise ValueError("no histogram of a swarm: 1 us to 600 s with three significant digits is wanted")
    return inflated[INNER.size :]


def _signed(body: Iterable[int]) -> Iterator[int]:
    """Yield integers from their ZigZag LEB128 form: 7 bits a byte, the lowest first; 8 in the ninth."""
    value = shift = 0
    for byte in body:
        if byte & 0x80 and shift < 7 * (_LONGEST - 1):
            value |= (byte & 0x7F) << shift
            shift += 7
        else:
            value |= byte << shift
            yield (value >> 1) ^ -(value & 1)
            value = shift = 0
    if shift:
        raise ValueError("no histogram: its last count is cut off")
