"""Sparse latency histograms in microseconds with the buckets of an HdrHistogram.

A histogram is a `Counts`: a dict from the lowest value of an HdrHistogram bucket to its count, for the
range 1 us … 600 s at 3 significant digits. In that layout (hdrhistogram.org) values below 2048 have a
bucket each; above, every power of two is divided into 1024 buckets, so the relative error is below 0.1 %.
Adding two `Counts` key by key is the exact merge of the two histograms. During a second counts are kept by
the microsecond, which costs less per request; `pack` sorts them into buckets when the second is reported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from hdrh.histogram import HdrHistogram

Counts = dict[int, int]
K = TypeVar("K")

LOWEST_US, HIGHEST_US, DIGITS = 1, 600_000_000, 3
UNIT_BUCKETS = 2048  # below this, one bucket per microsecond
UNIT_BITS = 11


def bucket_us(value_us: int) -> int:
    """Return the lowest value of the bucket that counts `value_us`, clamped to the range."""
    if value_us < UNIT_BUCKETS:
        return value_us if value_us > 0 else LOWEST_US
    if value_us > HIGHEST_US:
        value_us = HIGHEST_US
    shift = value_us.bit_length() - UNIT_BITS
    return value_us >> shift << shift


def record(counts: Counts, seconds: float) -> None:
    """Count one duration by its microseconds; `pack` sorts them into buckets later."""
    us = int(seconds * 1e6)
    counts[us] = counts.get(us, 0) + 1


def merge(into: dict[K, int], other: Mapping[K, int]) -> None:
    """Add `other` to `into`."""
    for key, count in other.items():
        into[key] = into.get(key, 0) + count


def quantile_us(counts: Mapping[int, int], q: float) -> int | None:
    """Return the highest value of the bucket of the q-quantile (0 … 1); None for an empty histogram."""
    rank = max(1, round(q * sum(counts.values())))
    for key in sorted(counts):
        rank -= counts[key]
        if rank <= 0:
            return highest_equivalent_us(key)
    return None


def highest_equivalent_us(key: int) -> int:
    """Return the highest value that falls into the bucket of `key`."""
    return key + (1 << max(0, key.bit_length() - UNIT_BITS)) - 1


def encode(counts: Mapping[int, int]) -> str:
    """Return HdrHistogram's base64 V2 encoding.

    Raises:
        ValueError: A value is outside the range.
    """
    histogram = HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS)
    for key, count in counts.items():
        if not histogram.record_value(key, count):
            raise ValueError(f"{key} us is outside the histogram's range")
    return str(histogram.encode().decode("ascii"))


def pack(counts: Mapping[int, int]) -> list[list[int]]:
    """Sort counts of microseconds into buckets; return [values, counts], the JSON form."""
    buckets: Counts = {}
    for us, count in counts.items():
        key = bucket_us(us)
        buckets[key] = buckets.get(key, 0) + count
    return [list(buckets.keys()), list(buckets.values())]


def unpack(packed: Iterable[Iterable[int]]) -> Counts:
    """Return the `Counts` of a packed histogram."""
    values, numbers = packed
    return dict(zip(values, numbers, strict=True))
