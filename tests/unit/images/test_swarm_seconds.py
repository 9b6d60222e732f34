"""Seconds of the load clock: where they begin and end, when they are reported, when dropped."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from swarm.seconds import BEFORE_START, Seconds, layout

lengths = st.floats(0.0, 20.0, allow_nan=False).map(lambda s: round(s, 3))


@given(lengths, lengths.filter(bool), lengths)
def test_seconds_tile_the_phases_without_gap_or_overlap(
    warmup_s: float, measure_s: float, cooldown_s: float
) -> None:
    seconds = list(layout(warmup_s, measure_s, cooldown_s))
    *load, drain = seconds
    assert load[0][2] == 0.0
    assert all(before[3] == after[2] for before, after in pairwise(seconds))
    assert drain[1:] == ("drain", warmup_s + measure_s + cooldown_s, math.inf)
    for name, length_s in (("warmup", warmup_s), ("measure", measure_s), ("cooldown", cooldown_s)):
        found = sum(end - begin for _, phase, begin, end in load if phase == name)
        assert found == pytest.approx(length_s), name
    assert all(end - begin <= 1.0 and k == int(begin) for k, _, begin, end in load)


def started(warmup_s: float = 1.0, measure_s: float = 2.0) -> Seconds:
    seconds = Seconds()
    seconds.start(100.0, warmup_s, measure_s)
    return seconds


def test_every_time_has_its_second() -> None:
    seconds = started()
    where = {
        t: (seconds.at(t).k, seconds.at(t).phase) for t in (99.9, 100.0, 100.999, 101.0, 102.5, 103.0, 999.0)
    }
    assert where == {
        99.9: (BEFORE_START, "spawn"),
        100.0: (0, "warmup"),
        100.999: (0, "warmup"),
        101.0: (1, "measure"),
        102.5: (2, "measure"),
        103.0: (3, "drain"),
        999.0: (3, "drain"),
    }


def test_a_second_is_reported_when_over_and_again_only_if_it_changed() -> None:
    seconds = started()
    second = seconds.at(100.5)
    second.intended = second.sent = 2
    second.answered = 1
    seconds.at(101.5)
    assert [s.k for s in seconds.changed(101.5)] == [BEFORE_START, 0]
    assert list(seconds.changed(101.6)) == []
    second.answered = 2
    assert [(s.k, s.answered) for s in seconds.changed(101.7)] == [(0, 2)]


def test_an_unsettled_second_is_kept_for_its_late_answers() -> None:
    seconds = started()
    second = seconds.at(100.5)
    second.intended = second.sent = 1
    seconds.at(102.5)
    list(seconds.changed(102.5))
    assert not second.is_settled()
    second.failed = 1
    assert [s.failed for s in seconds.changed(102.6)] == [1]


def test_totals_include_dropped_seconds() -> None:
    seconds = started()
    for at_s in (100.1, 101.1, 102.1):
        second = seconds.at(at_s)
        second.intended = second.sent = second.answered = 3
        list(seconds.changed(at_s))
    list(seconds.changed(math.inf))
    assert seconds.totals()["answered"] == 9
    with pytest.raises(LookupError, match="no second holds"):
        seconds.at(100.1)
