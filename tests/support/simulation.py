"""Synthetic trials with a known truth, to see whether the statistics keep their word."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy
from numpy.typing import NDArray

from lab.analysis import statistics as st

Floats = NDArray[numpy.float64]
SHAPES = ("normal", "lognormal", "bimodal", "drift")
TRUTH = 0.1
MARGIN = math.log1p(0.05)


def worsening(shape: str, sets: int, pairs: int, median: float, spread: float, seed: int) -> Floats:
    """`sets` experiments of `pairs` log ratios each, whose true median is `median`."""
    chance = numpy.random.default_rng([seed, SHAPES.index(shape), pairs])
    size = (sets, pairs)
    if shape == "normal":
        return median + chance.normal(0, spread, size)
    if shape == "lognormal":  # skewed; its median is 1
        return median + spread * (chance.lognormal(0, 1, size) - 1)
    if shape == "bimodal":  # a host with two states, as likely, of which each trial meets one
        return median + chance.choice([-1, 1], size) * 3 * spread + chance.normal(0, spread, size)
    # A drift that both members of a block share leaves their ratio alone; what is left is noise of each.
    drift = numpy.linspace(0, 20 * spread, pairs)
    base = drift + chance.normal(0, spread / math.sqrt(2), size)
    head = drift + median + chance.normal(0, spread / math.sqrt(2), size)
    return numpy.asarray(head - base)


class Coverage(NamedTuple):
    """Share of intervals that hold the true median, and how wide they are in the median."""

    share: float
    width: float


def coverage(shape: str, pairs: int, sets: int, seed: int = 1) -> Coverage:
    """How often the interval between the order statistics that `median_interval` takes holds the truth."""
    low, high = st.median_interval(range(pairs))
    ordered = numpy.sort(worsening(shape, sets, pairs, TRUTH, 0.05, seed), axis=1)
    lows, highs = ordered[:, int(low)], ordered[:, int(high)]
    held = (lows <= TRUTH) & (highs >= TRUTH)
    return Coverage(float(held.mean()), float(numpy.median(highs - lows)))


def alarms(
    shape: str, pairs: int, sets: int, worse: float, spread: float = 0.05, metrics: int = 1, seed: int = 2
) -> float:
    """Share of experiments in which any of `metrics` alike metrics is called a regression."""
    data = [worsening(shape, sets, pairs, worse, spread, seed + metric) for metric in range(metrics)]
    found = 0
    for experiment in range(sets):
        effects = [st.effect(values[experiment].tolist(), MARGIN, seed=1) for values in data]
        adjusted = st.holm([one.p for one in effects])
        found += any(
            st.decide(one, MARGIN, p) == "REGRESSION" for one, p in zip(effects, adjusted, strict=True)
        )
    return found / sets
