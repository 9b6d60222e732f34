"""A small latency histogram: microseconds in buckets of at most 6.25 % width, made for a hot loop."""

from __future__ import annotations

_SUB_BITS = 4
_SUB = 1 << _SUB_BITS


class Histogram:
    """Counts of microsecond values. `add` is a list index and an addition; quantiles are upper bounds."""

    def __init__(self) -> None:
        self._counts = [0] * (_SUB * 40)
        self.total = 0
        self.max_us = 0

    def add(self, value_us: int, count: int = 1) -> None:
        """Count `value_us` (negative is 0) so many times."""
        value_us = max(value_us, 0)
        shift = max(value_us.bit_length() - _SUB_BITS - 1, 0)
        self._counts[(shift << _SUB_BITS) + (value_us >> shift)] += count
        self.total += count
        if value_us > self.max_us:
            self.max_us = value_us

    def quantile_us(self, share: float) -> int | None:
        """Return the least bucket end that covers the share of all values, or None without values."""
        if not self.total:
            return None
        left = share * self.total
        for index, count in enumerate(self._counts):
            left -= count
            if count and left <= 0:
                return min(_bucket_end_us(index), self.max_us)
        return self.max_us

    def to_json(self) -> dict[str, int | None]:
        """Return `samples`, `p50`, `p99`, `max`, in microseconds."""
        return {
            "samples": self.total,
            "p50": self.quantile_us(0.50),
            "p99": self.quantile_us(0.99),
            "max": self.max_us if self.total else None,
        }


def _bucket_end_us(index: int) -> int:
    if index < 2 * _SUB:
        return index
    shift = (index >> _SUB_BITS) - 1
    return (((index - (shift << _SUB_BITS)) + 1) << shift) - 1
