"""Intervals over trials. The unit is one trial: requests within a trial are correlated, never pooled."""

from __future__ import annotations

from collections.abc import Sequence

# [min, max] of five samples covers the median in 93.75 % of all cases, of six in 96.9 %.
FEWEST_FOR_INTERVAL = 6


def median_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval of the median between two order statistics: no assumption on the distribution.

    Coverage is at least `confidence` (Thompson 1936; scipy.stats.quantile_test). Raises ValueError where even
    the smallest and the largest value do not reach it.
    """
    from scipy.stats import quantile_test

    interval = quantile_test(values, p=0.5).confidence_interval(confidence)
    low, high = float(interval.low), float(interval.high)
    if low != low or high != high:
        raise ValueError(f"{len(values)} values are too few for an interval of {confidence:.0%}")
    return low, high
