"""HdrHistograms of microseconds, as the swarm sends them, and quantiles that the samples can support."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hdrh.histogram import HdrHistogram

from lab.analysis.model import Quantiles

LOWEST_US, HIGHEST_US, DIGITS = 1, 600_000_000, 3
# Fewest samples for a quantile: below, its order-statistic interval reaches past what was seen (TRUST.md).
FEWEST = {"p50": 20, "p90": 200, "p95": 2_000, "p99": 10_000, "p999": 100_000}
_PERCENT = {"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "p999": 99.9}


def decode(text: str) -> Any:
    """A histogram from its base64 V2 form. Raises what hdrh raises for text that is none."""
    return HdrHistogram.decode(text)


def quantiles(histogram: Any) -> Quantiles:
    """Milliseconds; null where there are fewer samples than the quantile needs."""
    samples = int(histogram.get_total_count())
    if not samples:
        return Quantiles()
    values = {
        name: histogram.get_value_at_percentile(_PERCENT[name]) / 1000 if samples >= needed else None
        for name, needed in FEWEST.items()
    }
    return Quantiles(
        samples=samples,
        mean=histogram.get_mean_value() / 1000,
        max=histogram.get_max_value() / 1000,
        **values,
    )


def merged(texts: Iterable[str]) -> Any:
    """One histogram of many: the only right way to a quantile over several seconds or workers."""
    whole = HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS)
    for text in texts:
        whole.decode_and_add(text)
    return whole
