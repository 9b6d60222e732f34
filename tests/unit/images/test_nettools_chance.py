"""Seeded chances: long-run shares, correlations and distributions are as asked."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from random import Random

import pytest
from nettools import chance
from nettools.impairment import DISTRIBUTIONS, Impairment

from lab.scenario.impairment import Impairment as Asked

COUNT = 60_000


def shares(outcomes: Sequence[float]) -> tuple[float, float]:
    """Mean and lag-1 autocorrelation."""
    mean, variance = statistics.fmean(outcomes), statistics.pvariance(outcomes)
    covariance = statistics.fmean((a - mean) * (b - mean) for a, b in itertools.pairwise(outcomes))
    return mean, covariance / variance


@pytest.mark.parametrize(("probability", "correlation"), [(0.1, 0.0), (0.1, 0.25), (0.5, 0.9), (0.01, 0.5)])
def test_events_keep_their_share_and_correlate_as_asked(probability: float, correlation: float) -> None:
    happens = chance.event(probability, correlation, Random(1))
    mean, found = shares([happens() for _ in range(COUNT)])
    effective = COUNT * (1 - correlation) / (1 + correlation)
    assert mean == pytest.approx(probability, abs=5 * (probability / effective) ** 0.5)
    assert found == pytest.approx(correlation, abs=0.05)


def test_never_and_always() -> None:
    assert not any(chance.event(0.0, 0.0, Random(1))() for _ in range(100))
    assert all(chance.event(1.0, 0.5, Random(1))() for _ in range(100))


@pytest.mark.parametrize(
    "model",
    [
        {"loss": 0.05},
        {"loss_gemodel": (0.05, 0.3, 0.8, 0.01)},
        {"loss_gemodel": (0.02, 0.98, 1.0, 0.0)},
        {"loss_state": (0.05, 0.4, 0.2, 0.6, 0.03)},
    ],
)
def test_loss_models_lose_what_the_orchestrator_expects(model: dict[str, float]) -> None:
    asked = Asked(**model)  # type: ignore[arg-type]
    lost = chance.loss(Impairment.from_json(asked.to_json()), Random(2))
    found = statistics.fmean(lost() for _ in range(COUNT))
    assert found == pytest.approx(asked.loss_share, rel=0.1)


def test_gilbert_elliott_losses_come_in_bursts() -> None:
    lost = chance.loss(Impairment(loss_gemodel=(0.01, 0.1, 1.0, 0.0)), Random(3))
    runs = [len(list(group)) for gone, group in itertools.groupby(lost() for _ in range(COUNT)) if gone]
    assert statistics.fmean(runs) == pytest.approx(1 / 0.1, rel=0.15)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("correlation", [0.0, 0.5])
def test_jitter_has_its_size_and_correlation(distribution: str, correlation: float) -> None:
    impairment = Impairment(jitter_ms=4, distribution=distribution, delay_correlation=correlation)
    deviate = chance.jitter_ns(impairment, Random(4))
    found_ms = [deviate() / 1e6 for _ in range(COUNT)]
    mean, lag = shares(found_ms)
    assert mean == pytest.approx(0, abs=0.3)
    # Uniform is ± 4 ms. The tables of iproute2 have a deviation of 1 but for pareto's tail, cut at 4.
    expected = 4 / 3**0.5 if distribution == "uniform" else 4
    assert statistics.pstdev(found_ms) == pytest.approx(expected, rel=0.2)
    assert lag == pytest.approx(correlation, abs=0.06)


def test_a_distribution_that_iproute2_lacks_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"no cauchy\.dist of iproute2"):
        chance.distribution_table("cauchy")
