"""The time that an engine loses in stalls, on a clock that the test sets."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.engine_clock import END_S, Clock, driven, merged, set_clock
from tests.support.records import counted, judged, trial, with_load


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return set_clock(monkeypatch)


def lost(clock: Clock, stalls: dict[float, float]) -> list[float]:
    """Return the lost time of each second, without a request; as seen in steps of 1 ms."""
    load = {"users": 10, "after_s": 0.05, "rate_per_s": 1e-3, "until_s": END_S + 2}
    seconds = merged(driven(clock, stalls=stalls, ticks_per_s=1000, **load)).seconds()
    return [lost_s for second in seconds for lost_s in second["lost_s"]]


def about(*seconds: float) -> Any:
    return pytest.approx(seconds, abs=0.015)  # a tick of 10 ms may have been due before the stall, or after


@pytest.mark.parametrize("stalls", [{}, {1.5: 0.003}], ids=["in time", "a little late"])
def test_a_loop_that_looks_at_the_clock_in_time_loses_nothing(
    clock: Clock, stalls: dict[float, float]
) -> None:
    assert lost(clock, stalls) == [0.0, 0.0, 0.0]


def test_a_stall_counts_with_its_whole_length(clock: Clock) -> None:
    assert lost(clock, {1.2: 0.15, 1.6: 0.15, 2.3: 0.02}) == about(0.0, 0.3, 0.02)


@pytest.mark.parametrize(
    ("stalls", "seconds"), [({1.95: 0.15}, (0.0, 0.05, 0.1)), ({0.9: 1.5}, (0.1, 1.0, 0.4))]
)
def test_a_stall_counts_in_each_second_that_it_touches(
    clock: Clock, stalls: dict[float, float], seconds: tuple[float, ...]
) -> None:
    assert lost(clock, stalls) == about(*seconds)


def test_connections_stay_counted_in_a_second_that_had_no_tick(clock: Clock) -> None:
    engine = driven(clock, users=10, after_s=0.05, rate_per_s=20.0, until_s=END_S + 2, stalls={0.95: 1.5})
    assert [second["connected"] for second in merged(engine).seconds()] == [10, 10, 10]


def test_a_generator_that_stood_still_makes_a_trial_invalid(clock: Clock) -> None:
    seconds = trial().load.seconds  # type: ignore[union-attr]
    each = lost(clock, {1.2: 0.15, 1.5: 0.15, 1.8: 0.15, 2.1: 0.15, 2.4: 0.15})
    stood = [s.replaced(lost_s=[each[1 + s.k % 2]]) if s.phase == "measure" else s for s in seconds]
    assert ("generator_stalls", "invalid") in counted(judged(with_load(trial(), seconds=stood)))
