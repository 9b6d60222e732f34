"""Seconds of the load clock: where they begin and end, what they tell, what is forgotten."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from swarm.ledger import BEFORE, Ledger, layout

lengths = st.floats(0.0, 20.0, allow_nan=False).map(lambda s: round(s, 3))


@given(lengths, lengths.filter(bool))
def test_seconds_tile_the_phases_without_gap_or_overlap(warmup_s: float, measure_s: float) -> None:
    seconds = list(layout(warmup_s, measure_s))
    *load, drain = seconds
    assert load[0][2] == 0.0
    assert all(before[3] == after[2] for before, after in pairwise(seconds))
    assert load[-1][3] == pytest.approx(warmup_s + measure_s)
    assert drain[1:] == ("drain", warmup_s + measure_s, math.inf)
    window = sum(end - begin for _, phase, begin, end in load if phase == "measure")
    assert window == pytest.approx(measure_s)
    assert all(end - begin <= 1.0 and k == int(begin) for k, _, begin, end in load)


def started(warmup_s: float = 1.0, measure_s: float = 2.0) -> Ledger:
    ledger = Ledger()
    ledger.start(100.0, warmup_s, measure_s)
    return ledger


def test_every_moment_has_its_second() -> None:
    ledger = started()
    where = {
        t: (ledger.at(t).k, ledger.at(t).phase) for t in (99.9, 100.0, 100.999, 101.0, 102.5, 103.0, 999.0)
    }
    assert where == {
        99.9: (BEFORE, "spawn"),
        100.0: (0, "warmup"),
        100.999: (0, "warmup"),
        101.0: (1, "measure"),
        102.5: (2, "measure"),
        103.0: (3, "drain"),
        999.0: (3, "drain"),
    }


def test_a_second_is_told_when_over_and_again_only_when_it_changed() -> None:
    ledger = started()
    second = ledger.at(100.5)
    second.intended = second.sent = 2
    second.answered = 1
    ledger.at(101.5)
    assert [s.k for s in ledger.news(101.5)] == [BEFORE, 0]
    assert list(ledger.news(101.6)) == []
    second.answered = 2
    assert [(s.k, s.answered) for s in ledger.news(101.7)] == [(0, 2)]


def test_an_unsettled_second_is_kept_for_its_late_answers() -> None:
    ledger = started()
    second = ledger.at(100.5)
    second.intended = second.sent = 1
    ledger.at(102.5)
    list(ledger.news(102.5))
    assert not second.is_settled()
    second.failed = 1
    assert [s.failed for s in ledger.news(102.6)] == [1]


def test_totals_include_forgotten_seconds() -> None:
    ledger = started()
    for at_s in (100.1, 101.1, 102.1):
        second = ledger.at(at_s)
        second.intended = second.sent = second.answered = 3
        list(ledger.news(at_s))
    list(ledger.news(math.inf))
    assert ledger.totals()["answered"] == 9
    with pytest.raises(LookupError, match="no second holds"):
        ledger.at(100.1)
