"""Intervals, effects and decisions over trials. The unit is one trial: requests within it are correlated.

Nothing here assumes a distribution: medians, order statistics and signs, by scipy where it has them.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Decision = Literal["REGRESSION", "OK", "INCONCLUSIVE"]
ALPHA = 0.05
POWER = 0.80
# [min, max] of five samples covers the median in 93.75 % of all cases, of six in 96.9 %.
FEWEST_FOR_INTERVAL = 6
DEFAULT_PAIRS = 10
# BCa covers 82 … 89 % at 10 pairs, not the 95 % on its label: below this it is not offered.
FEWEST_FOR_BOOTSTRAP = 30
RESAMPLES = 9_999


def median_interval(values: Sequence[float], confidence: float = 1 - ALPHA) -> tuple[float, float]:
    """Return the exact interval of the median between two order statistics.

    Coverage is at least `confidence` (Thompson 1936; scipy.stats.quantile_test). Raises ValueError where even
    the smallest and the largest value do not reach it.
    """
    from scipy.stats import quantile_test

    interval = quantile_test(values, p=0.5).confidence_interval(confidence)
    low, high = float(interval.low), float(interval.high)
    if math.isnan(low) or math.isnan(high):
        raise ValueError(f"{len(values)} values are too few for an interval of {confidence:.4g}")
    return low, high


def bootstrap_interval(values: Sequence[float], seed: int) -> tuple[float, float]:
    """Return the BCa bootstrap interval of the median (Efron 1987; scipy.stats.bootstrap), seeded.

    Raises ValueError below 30 values, where it does not cover what it claims.
    """
    if len(values) < FEWEST_FOR_BOOTSTRAP:
        raise ValueError(f"a bootstrap interval needs {FEWEST_FOR_BOOTSTRAP} pairs, here are {len(values)}")
    if min(values) == max(values):
        return values[0], values[0]
    import numpy
    from scipy.stats import bootstrap

    chance = numpy.random.default_rng(seed)
    made = bootstrap((values,), numpy.median, n_resamples=RESAMPLES, method="BCa", rng=chance)
    return float(made.confidence_interval.low), float(made.confidence_interval.high)


def log_ratios(base: Sequence[float], head: Sequence[float]) -> list[float]:
    """ln(head ÷ base) of each block. Raises ValueError where a figure is not above 0."""
    if any(value <= 0 for value in (*base, *head)):
        raise ValueError("a ratio needs figures above 0")
    return [math.log(h / b) for b, h in zip(base, head, strict=True)]


def regression_p(worsening: Sequence[float], margin: float) -> float:
    """Two-sided p of the sign test that the median worsening is not beyond the margin (both as logarithms).

    For one metric, p ≤ 5 % and "the 95 % interval lies wholly beyond the margin" are the same statement.
    """
    from scipy.stats import binomtest

    beyond = sum(value > margin for value in worsening)
    return min(1.0, 2 * float(binomtest(beyond, len(worsening), 0.5, alternative="greater").pvalue))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for their number, in their own order (Holm 1979): compare each with ALPHA."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def fewest_pairs(metrics: int) -> int:
    """Fewest pairs with which any of so many gated metrics could be called a regression: 6 for one."""
    return math.ceil(1 - math.log2(ALPHA / max(metrics, 1)))


def minimal_detectable(spread: float, pairs: int, margin: float, metrics: int = 1) -> float:
    """Return the least worsening (a logarithm) found with a power of 80 %; infinite with too few pairs.

    `spread` is the standard deviation of the log ratios, taken as normal for this forecast only. The sign
    test needs so many of the pairs beyond the margin; their chance to be there must then be `likely` each.
    """
    from scipy.stats import beta, binom, norm

    if pairs < fewest_pairs(metrics):
        return math.inf
    needed = int(binom.isf(ALPHA / (2 * metrics), pairs, 0.5)) + 1
    likely = float(beta.ppf(POWER, needed, pairs - needed + 1))  # P(Bin(pairs, likely) ≥ needed) = POWER
    return margin + spread * float(norm.ppf(likely))


def spread_of(values: Sequence[float]) -> float:
    """Return the standard deviation of log ratios; 0 for fewer than two."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


@dataclass(frozen=True)
class Effect:
    """The median worsening of head against base, as a logarithm, with its exact 95 % interval."""

    median: float
    interval: tuple[float, float]
    bootstrap: tuple[float, float] | None
    spread: float
    p: float


def effect(worsening: Sequence[float], margin: float, seed: int) -> Effect:
    """Return the effect over paired log ratios, positive for worse. Raises ValueError below six pairs."""
    wide = len(worsening) >= FEWEST_FOR_BOOTSTRAP
    return Effect(
        median=statistics.median(worsening),
        interval=median_interval(worsening),
        bootstrap=bootstrap_interval(worsening, seed) if wide else None,
        spread=spread_of(worsening),
        p=regression_p(worsening, margin),
    )


def decide(found: Effect, margin: float, p_adjusted: float) -> Decision:
    """REGRESSION when the interval lies wholly beyond the margin (and Holm agrees), OK wholly within.

    An improvement, however large, is OK.
    """
    low, high = found.interval
    if low > margin and p_adjusted <= ALPHA:
        return "REGRESSION"
    return "OK" if high < margin else "INCONCLUSIVE"
