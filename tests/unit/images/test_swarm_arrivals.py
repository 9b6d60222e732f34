"""Arrival processes: rates, stages, shares, seeds; think times."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, takewhile
from random import Random
from statistics import mean, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st
from swarm.executors import Start
from swarm.executors.constant_arrival_rate import ConstantArrivalRate
from swarm.executors.ramping_arrival_rate import RampingArrivalRate, profile, times_at
from swarm.executors.stages import Stage
from swarm.executors.think_time import ThinkTime
from swarm.seconds import Seconds

Open = ConstantArrivalRate | RampingArrivalRate

stages = st.lists(
    st.tuples(st.floats(0, 5), st.floats(0, 200)).map(lambda pair: Stage(*pair)), min_size=1, max_size=4
)


def times(
    load: Open, *, warmup_s: float = 0.0, seed: int = 7, position: int = 0, of: int = 1
) -> Iterator[float]:
    def never(*_: object) -> None:
        raise AssertionError("nothing is sent here")

    share = {"position": position, "of": of}
    return load.times(Start(never, Seconds(), start_s=0.0, warmup_s=warmup_s, end_s=0.0, seed=seed, **share))


def within(load: Open, end_s: float, warmup_s: float = 0.0, seed: int = 7) -> list[float]:
    return list(takewhile(lambda at_s: at_s < end_s, times(load, warmup_s=warmup_s, seed=seed)))


@given(st.integers(1, 7), st.floats(0.5, 5000.0))
def test_shares_together_are_the_whole_process(of: int, rate_per_s: float) -> None:
    load = ConstantArrivalRate(rate_per_s)
    shares = [times(load, position=position, of=of) for position in range(of)]
    together = sorted(next(share) for _ in range(5) for share in shares)
    assert together == list(islice(times(load), 5 * of))


def test_a_constant_rate_is_even_to_the_microsecond() -> None:
    due = within(ConstantArrivalRate(2000.0), 10.0)
    assert len(due) == 20_000
    assert due == pytest.approx([n / 2000 for n in range(20_000)], abs=1e-9)


@given(stages, st.floats(0, 3), st.floats(1, 100))
def test_as_many_arrive_as_the_rate_has_area(plan: list[Stage], warmup_s: float, start: float) -> None:
    pieces = profile(start, warmup_s, plan)
    ends_s, count = pieces[-1].at_s, pieces[-1].count
    due = list(takewhile(lambda at_s: at_s < ends_s, times_at(pieces, iter(range(10_000)))))
    assert len(due) == pytest.approx(count, abs=1.01)
    assert due == sorted(due)


def test_a_ramp_follows_its_line_after_the_warm_up() -> None:
    load = RampingArrivalRate(10.0, (Stage(10.0, 110.0),))
    due = within(load, 12.0, warmup_s=2.0)
    assert len(due) == 2 * 10 + 600
    per_second = [sum(k <= at_s < k + 1 for at_s in due) for k in range(12)]
    assert per_second[:2] == [10, 10]
    assert per_second[2:] == pytest.approx([15 + 10 * k for k in range(10)], abs=1)


def test_steps_and_spikes_are_short_stages() -> None:
    plan = (Stage(1.0, 10.0), Stage(0.0, 100.0), Stage(1.0, 100.0), Stage(0.0, 10.0), Stage(1.0, 10.0))
    due = within(RampingArrivalRate(10.0, plan), 3.0)
    assert [sum(k <= at_s < k + 1 for at_s in due) for k in range(3)] == pytest.approx([10, 100, 10], abs=1)


def test_a_rate_that_falls_to_nothing_ends_the_arrivals() -> None:
    due = list(islice(times(RampingArrivalRate(10.0, (Stage(2.0, 0.0),))), 100))
    assert len(due) == 11  # the area is 10: counts 0 … 10
    assert due[-1] == pytest.approx(2.0)


def test_poisson_gaps_are_exponential() -> None:
    due = within(ConstantArrivalRate(1000.0, "poisson"), 20.0)
    gaps = [after - before for before, after in zip(due, due[1:], strict=False)]  # noqa: RUF007
    assert len(due) == pytest.approx(20_000, abs=4 * 20_000**0.5)
    assert pstdev(gaps) == pytest.approx(mean(gaps), rel=0.05)


def test_poisson_shares_add_up_and_differ() -> None:
    load = ConstantArrivalRate(1000.0, "poisson")
    shares = [
        list(takewhile(lambda at_s: at_s < 10.0, times(load, position=position, of=4)))
        for position in range(4)
    ]
    assert sum(map(len, shares)) == pytest.approx(10_000, abs=400)
    assert len({share[0] for share in shares}) == 4


def test_a_seed_makes_the_same_arrivals_again_and_another_seed_others() -> None:
    load = ConstantArrivalRate(100.0, "poisson")
    assert within(load, 5.0) == within(load, 5.0)
    assert within(load, 5.0, seed=8) != within(load, 5.0)


@pytest.mark.parametrize(
    ("think_time", "mean_s", "deviation_s"),
    [
        (ThinkTime("constant", 0.5), 0.5, 0.0),
        (ThinkTime("uniform", 1.0, 3.0), 2.0, 2 / 12**0.5),
        (ThinkTime("exponential", 0.4), 0.4, 0.4),
        (ThinkTime("lognormal", 1.0, 0.5), 1.133, 0.604),
    ],
)
def test_think_times_have_their_distribution(
    think_time: ThinkTime, mean_s: float, deviation_s: float
) -> None:
    draw = think_time.sampler(Random(3))
    assert draw is not None
    drawn = [draw() for _ in range(20_000)]
    assert mean(drawn) == pytest.approx(mean_s, rel=0.03)
    assert pstdev(drawn) == pytest.approx(deviation_s, rel=0.05, abs=1e-9)
