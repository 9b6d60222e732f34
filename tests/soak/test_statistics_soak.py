"""The statistics keep their word over 10,000 synthetic data sets of each kind (figures: pytest -rP)."""

import math

import pytest

from lab.analysis import statistics as st
from tests.support import simulation

SETS = 10_000
pytestmark = [pytest.mark.soak, pytest.mark.timeout(900)]


@pytest.mark.parametrize("shape", simulation.SHAPES)
@pytest.mark.parametrize("pairs", [6, 7, 10, 13, 20, 30])
def test_coverage(shape, pairs):
    found = simulation.coverage(shape, pairs, SETS)
    print(f"{shape}, {pairs} pairs: covers {found.share:.2%}, width {found.width:.4f} at a spread of 0.05")
    assert found.share >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / SETS)


@pytest.mark.parametrize("shape", simulation.SHAPES)
@pytest.mark.parametrize(
    ("worse", "metrics"), [(0.0, 1), (0.0, 3), (simulation.MARGIN, 1), (simulation.MARGIN, 3)]
)
def test_false_alarms(shape, worse, metrics):
    share = simulation.alarms(shape, st.DEFAULT_PAIRS, SETS, worse, metrics=metrics)
    print(f"{shape}, change {worse:.4f}, {metrics} metrics: {share:.2%} false alarms")
    assert share <= 0.05


@pytest.mark.parametrize("pairs", [6, 10, 20])
@pytest.mark.parametrize("spread", [0.01, 0.03, 0.10])
def test_power(pairs, spread):
    least = st.minimal_detectable(spread, pairs, simulation.MARGIN)
    share = simulation.alarms("normal", pairs, SETS // 2, 1.5 * least, spread=spread)
    print(f"{pairs} pairs, spread {spread}: sees {math.expm1(least):.1%}; 1.5 times that: {share:.2%}")
    assert share >= 0.95
