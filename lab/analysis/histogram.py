"""HdrHistograms of microseconds, as the swarm sends them, and quantiles that the samples can support."""

from __future__ import annotations

import bisect
import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from hdrh.histogram import HdrHistogram

from lab.analysis.model import QuantileName, Quantiles
from lab.results.load import Counts

LOWEST_US, HIGHEST_US, DIGITS = 1, 600_000_000, 3
# Values below are counted one by one; above, each doubling of the value has half as many slots
# (HdrHistogram's layout for three digits: the smallest power of 2 that is at least 2 × 10³).
_SINGLE = 2048
# Fewest samples for a quantile: below, its order-statistic interval reaches past what was seen.
FEWEST: Mapping[QuantileName, int] = {
    "p50": 20, "p90": 200, "p95": 2_000, "p99": 10_000, "p999": 100_000
}  # fmt: skip
_PERCENT: Mapping[QuantileName, float] = {"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "p999": 99.9}


def fewest(percentile: float) -> int:
    """Fewest samples for any percentile: 100 above it in a tail, 20 elsewhere; FEWEST where it has it."""
    named = {value: FEWEST[name] for name, value in _PERCENT.items()}
    above = 100 if percentile >= 95 else 20
    return named.get(percentile, math.ceil(above / (1 - percentile / 100)))


def decode(text: str) -> Any:
    """Return a histogram from its base64 V2 form. Raises what hdrh raises for text that is none."""
    return HdrHistogram.decode(text)


@dataclass(frozen=True)
class Times:
    """How often each time was seen: slots in ascending order (lowest, highest value in µs) and their counts.

    A quantile is the highest value of its slot, as HdrHistogram has it; hdrh walks all 23,000 slots for each.
    """

    slots: tuple[tuple[int, int], ...]
    upto: tuple[int, ...]

    @classmethod
    def of(cls, counts: Mapping[int, int]) -> Times:
        """From counts by slot number."""
        order = sorted(counts)
        return cls(tuple(map(_slot, order)), tuple(itertools.accumulate(counts[i] for i in order)))

    @property
    def samples(self) -> int:
        """How many times were recorded."""
        return self.upto[-1] if self.upto else 0

    def quantile_us(self, percentile: float) -> float:
        """Return the time that this share of all does not exceed. Raises ValueError without samples."""
        if not self.samples:
            raise ValueError("no samples, no quantile")
        return self.at(rank_of(percentile, self.samples))

    def at(self, rank: int) -> float:
        """Return the time of this rank, 1 for the shortest."""
        return float(self.slots[bisect.bisect_left(self.upto, rank)][1])

    def low_at(self, rank: int) -> float:
        """Return the lowest value of the slot of this rank: what it took at least."""
        return float(self.slots[bisect.bisect_left(self.upto, rank)][0])

    @property
    def mean_us(self) -> float:
        """The mean, each time taken as the middle of its slot. Raises ValueError without samples."""
        if not self.samples:
            raise ValueError("no samples, no mean")
        counts = (b - a for a, b in itertools.pairwise((0, *self.upto)))
        total = sum(
            (low + (high - low + 1) // 2) * n for (low, high), n in zip(self.slots, counts, strict=True)
        )
        return total / self.samples

    @property
    def min_us(self) -> float:
        """The lowest value of the first slot."""
        return float(self.slots[0][0])

    @property
    def max_us(self) -> float:
        """The highest value of the last slot."""
        return float(self.slots[-1][1])


def rank_of(percentile: float, samples: int) -> int:
    """Return the rank of a percentile among so many samples, from 1 on."""
    return max(1, int(percentile / 100 * samples + 0.5))


class Bound(NamedTuple):
    """A time in microseconds; with `at_least` it is a lower bound of the true one."""

    us: float
    at_least: bool = False


@dataclass(frozen=True)
class Outcomes:
    """Times of answers, and of requests without one: those would have taken longer than they waited.

    They are right-censored at their waiting time, and count as slower than every answer. Where a quantile
    falls among them it is a lower bound: the quantile of answers and waiting times together. A waiting time
    that is unknown counts as 0, which is certain.
    """

    answers: Times
    together: Times

    @classmethod
    def of(cls, answers: Iterable[str | None], censored: Iterable[str | None], unanswered: int) -> Outcomes:
        """From histograms of answers and of waiting times, and the number of requests without an answer."""
        counts, waited = _sum(answers), _sum(censored)
        unknown = Counter({0: max(0, unanswered - waited.total())})
        return cls(Times.of(counts), Times.of(+(counts + waited + unknown)))

    @property
    def samples(self) -> int:
        """How many requests, with or without an answer."""
        return self.together.samples

    @property
    def unanswered(self) -> int:
        """How many requests had no answer."""
        return self.samples - self.answers.samples

    def quantile(self, percentile: float) -> Bound:
        """Return the time that this share of all does not exceed. Raises ValueError without requests."""
        if not self.samples:
            raise ValueError("no samples, no quantile")
        rank = rank_of(percentile, self.samples)
        if rank <= self.answers.samples:
            return Bound(self.answers.at(rank))
        return Bound(self.together.low_at(rank), at_least=True)

    def quantiles(self) -> Quantiles:
        """Milliseconds; null where there are fewer requests than the quantile needs."""
        if not self.samples:
            return Quantiles()
        names = [name for name, needed in FEWEST.items() if self.samples >= needed]
        found = {name: self.quantile(_PERCENT[name]) for name in names}
        known = self.answers.samples > 0
        return Quantiles(
            samples=self.answers.samples,
            unanswered=self.unanswered,
            at_least=tuple(name for name, bound in found.items() if bound.at_least),
            mean=self.answers.mean_us / 1000 if known else None,
            max=self.answers.max_us / 1000 if known else None,
            **{name: bound.us / 1000 for name, bound in found.items() if bound.us},
        )


def response_times(*of: Counts) -> Outcomes:
    """Return the response times of some time's requests; those without an answer are censored."""
    without = sum(one.failed + (one.unsent or 0) for one in of)
    return Outcomes.of((one.response_hdr for one in of), (one.response_censored_hdr for one in of), without)


def service_times(*of: Counts) -> Outcomes:
    """Return the service times of some time's requests; those that failed are censored."""
    without = sum(one.failed for one in of)
    return Outcomes.of((one.service_hdr for one in of), (one.service_censored_hdr for one in of), without)


def _slot(index: int) -> tuple[int, int]:
    if index < _SINGLE:
        return index, index
    half = _SINGLE // 2
    doubling = index // half - 1
    low = (index % half + half) << doubling
    return low, low + (1 << doubling) - 1


def times(histogram: Any) -> Times:
    """Return the times of a histogram, or of its base64 form."""
    return Times.of(_counts(histogram))


def merged(texts: Iterable[str]) -> Times:
    """Merge the times of many histograms: the only right way to a quantile over seconds or workers."""
    return Times.of(_sum(texts))


def _sum(texts: Iterable[str | None]) -> Counter[int]:
    total: Counter[int] = Counter()
    for text in texts:
        if text:
            total.update(_counts(text))
    return total


def _counts(histogram: Any) -> dict[int, int]:
    decoded = decode(histogram) if isinstance(histogram, str) else histogram
    if decoded.sub_bucket_count != _SINGLE or decoded.unit_magnitude or decoded.word_size != 8:
        raise ValueError("a histogram of whole microseconds with three significant digits is wanted")
    # One copy of all slots, then the few that are not empty: asking the ctypes array for each takes 4 ms.
    counts = memoryview(decoded.counts).cast("B").cast("q").tolist()
    return {index: counts[index] for index in itertools.compress(range(len(counts)), counts)}


def quantiles(histogram: Any) -> Quantiles:
    """Milliseconds; null where there are fewer samples than the quantile needs."""
    seen = histogram if isinstance(histogram, Times) else times(histogram)
    return Outcomes(seen, seen).quantiles()
