"""Random events, loss models and jitter: probabilities, correlations and distributions are as configured."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from random import Random

import pytest
from nettools import loss_models
from nettools.impairment import DISTRIBUTIONS, Impairment
from nettools.jitter import distribution_table, jitter_sampler

from lab.scenario.impairment import Impairment as Asked

COUNT = 60_000


def mean_and_correlation(outcomes: Sequence[float]) -> tuple[float, float]:
    """Mean and lag-1 autocorrelation."""
    mean, variance = statistics.fmean(outcomes), statistics.pvariance(outcomes)
    covariance = statistics.fmean((a - mean) * (b - mean) for a, b in itertools.pairwise(outcomes))
    return mean, covariance / variance


@pytest.mark.parametrize(("probability", "correlation"), [(0.1, 0.0), (0.1, 0.25), (0.5, 0.9), (0.01, 0.5)])
def test_events_have_their_probability_and_correlation(probability: float, correlation: float) -> None:
    happens = loss_models.bernoulli(probability, correlation, Random(1))
    mean, found = mean_and_correlation([happens() for _ in range(COUNT)])
    effective = COUNT * (1 - correlation) / (1 + correlation)
    assert mean == pytest.approx(probability, abs=5 * (probability / effective) ** 0.5)
    assert found == pytest.approx(correlation, abs=0.05)


def test_probabilities_0_and_1() -> None:
    assert not any(loss_models.bernoulli(0.0, 0.0, Random(1))() for _ in range(100))
    assert all(loss_models.bernoulli(1.0, 0.5, Random(1))() for _ in range(100))


@pytest.mark.parametrize(
    "model",
    [
        {"loss": 0.05},
        {"loss_gemodel": (0.05, 0.3, 0.8, 0.01)},
        {"loss_gemodel": (0.02, 0.98, 1.0, 0.0)},
        {"loss_state": (0.05, 0.4, 0.2, 0.6, 0.03)},
    ],
)
def test_loss_models_have_the_loss_rate_that_the_orchestrator_expects(model: dict[str, float]) -> None:
    asked = Asked(**model)  # type: ignore[arg-type]
    lost = loss_models.loss(Impairment.from_json(asked.to_json()), Random(2))
    found = statistics.fmean(lost() for _ in range(COUNT))
    assert found == pytest.approx(asked.loss_share, rel=0.1)


def test_gilbert_elliott_losses_come_in_bursts() -> None:
    lost = loss_models.loss(Impairment(loss_gemodel=(0.01, 0.1, 1.0, 0.0)), Random(3))
    runs = [len(list(group)) for gone, group in itertools.groupby(lost() for _ in range(COUNT)) if gone]
    assert statistics.fmean(runs) == pytest.approx(1 / 0.1, rel=0.15)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("correlation", [0.0, 0.5])
def test_jitter_has_its_deviation_and_correlation(distribution: str, correlation: float) -> None:
    impairment = Impairment(jitter_ms=4, distribution=distribution, delay_correlation=correlation)
    draw_ns = jitter_sampler(impairment, Random(4))
    found_ms = [draw_ns() / 1e6 for _ in range(COUNT)]
    mean, lag = mean_and_correlation(found_ms)
    assert mean == pytest.approx(0, abs=0.3)
    # Uniform is ± 4 ms. iproute2's tables have a standard deviation of 1, except pareto, cut off at 4.
    expected = 4 / 3**0.5 if distribution == "uniform" else 4
    assert statistics.pstdev(found_ms) == pytest.approx(expected, rel=0.2)
    assert lag == pytest.approx(correlation, abs=0.06)


def test_an_unknown_distribution_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"no cauchy\.dist of iproute2"):
        distribution_table("cauchy")
