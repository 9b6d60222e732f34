"""The statistics keep their word: coverage, false alarms and power, by simulation (large: tests/soak)."""

import math

import numpy
import pytest

from lab.analysis import statistics as st
from tests.support import simulation

SETS = 2_000


def test_the_interval_is_between_order_statistics():
    assert st.median_interval([3, 1, 2, 6, 5, 4]) == (1, 6)
    assert st.median_interval(range(1, 11)) == (2, 9)
    with pytest.raises(ValueError, match="5 values are too few"):
        st.median_interval([1, 2, 3, 4, 5])


def test_the_interval_lies_beyond_the_margin_exactly_where_the_sign_test_says_so():
    chance = numpy.random.default_rng(3)
    for pairs in (6, 7, 10, 13, 20):
        for _ in range(40):
            values = chance.normal(0.1, 0.1, pairs).tolist()
            low, _ = st.median_interval(values)
            assert (low > 0.05) == (st.regression_p(values, 0.05) <= st.ALPHA)


@pytest.mark.parametrize("shape", simulation.SHAPES)
@pytest.mark.parametrize("pairs", [6, 10, 20])
def test_intervals_cover_what_they_claim(shape, pairs):
    found = simulation.coverage(shape, pairs, SETS)
    assert found.share >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / SETS)
    assert found.width > 0


@pytest.mark.parametrize("shape", simulation.SHAPES)
def test_no_false_alarms_where_nothing_changed(shape):
    assert simulation.alarms(shape, pairs=10, sets=300, worse=0.0) <= 0.05


@pytest.mark.parametrize(
    ("shape", "metrics"), [("normal", 1), ("lognormal", 1), ("bimodal", 3), ("drift", 3)]
)
def test_few_alarms_where_the_change_is_the_margin_itself(shape, metrics):
    share = simulation.alarms(shape, pairs=13, sets=300, worse=simulation.MARGIN, metrics=metrics)
    assert share <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)


@pytest.mark.parametrize("pairs", [6, 10, 20])
def test_one_and_a_half_times_the_detectable_change_is_found(pairs):
    spread = 0.03
    change = 1.5 * st.minimal_detectable(spread, pairs, math.log1p(0.05))
    assert simulation.alarms("normal", pairs, sets=300, worse=change, spread=spread) >= 0.95


def test_holm_adjusts_in_place_and_never_falls():
    assert st.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert st.holm([0.5]) == [0.5]
    assert st.holm([]) == []
    assert max(st.holm([0.9, 0.8])) == 1.0


def test_a_gate_needs_six_pairs_and_more_for_more_metrics():
    assert [st.fewest_pairs(metrics) for metrics in (1, 2, 3, 4, 10)] == [6, 7, 7, 8, 9]
    for metrics in (1, 2, 5):
        fewest = st.fewest_pairs(metrics)
        assert st.holm([st.regression_p([1.0] * fewest, 0.0)] + [0.0] * (metrics - 1))[0] <= st.ALPHA
        least = st.regression_p([1.0] * (fewest - 1), 0.0)
        assert min(1.0, metrics * least) > st.ALPHA


def test_more_pairs_see_less_and_too_few_see_nothing():
    seen = [st.minimal_detectable(0.03, pairs, 0.05) for pairs in (6, 10, 20, 40)]
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] > 0.05
    assert st.minimal_detectable(0.03, 5, 0.05) == math.inf
    assert st.minimal_detectable(0.03, 6, 0.05, metrics=2) == math.inf


def test_a_bootstrap_interval_only_from_thirty_pairs():
    chance = numpy.random.default_rng(5)
    values = chance.normal(0.2, 0.1, 60).tolist()
    low, high = st.bootstrap_interval(values, seed=1)
    assert low < 0.2 < high
    assert (low, high) == st.bootstrap_interval(values, seed=1)
    assert st.bootstrap_interval([0.1] * 30, seed=1) == (0.1, 0.1)
    with pytest.raises(ValueError, match="needs 30 pairs"):
        st.bootstrap_interval(values[:29], seed=1)


def test_decisions_have_three_values():
    margin = math.log1p(0.05)

    def decided(*values: float) -> str:
        found = st.effect(values, margin, seed=1)
        return st.decide(found, margin, found.p)

    assert decided(*[0.2] * 6) == "REGRESSION"
    assert decided(*[0.01, -0.01] * 3) == "OK"
    assert decided(*[-0.5] * 6) == "OK"
    assert decided(*[0.2] * 5, 0.0) == "INCONCLUSIVE"
    found = st.effect([0.2] * 6, margin, seed=1)
    assert st.decide(found, margin, p_adjusted=0.06) == "INCONCLUSIVE"


def test_a_ratio_needs_figures_above_zero():
    with pytest.raises(ValueError, match="above 0"):
        st.log_ratios([1.0, 0.0], [1.0, 1.0])
    assert st.log_ratios([2.0], [4.0]) == [math.log(2)]
