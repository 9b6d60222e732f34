"""What several masters told as one: each field is merged as a table says, and none is forgotten."""

import pytest

from lab.load import merge
from lab.results import load, swarm_event
from lab.results.base import RecordModel
from tests.support import records

MERGED = (
    load.SwarmResult, load.Second, load.Totals, load.ErrorSeen, load.LocustCount, load.SlowCount,
    swarm_event.Progress,
)  # fmt: skip


@pytest.mark.parametrize("model", MERGED, ids=lambda model: model.__name__)
def test_every_field_stands_in_exactly_one_table(model):
    tables = (merge.ADDED, merge.ADDED_WHOLE, merge.FIRST, merge.TENTHS, frozenset(merge.EXTREME))
    for name in model.model_fields:
        assert sum(name in table for table in tables) == 1, name


def test_no_table_names_a_field_that_there_is_not():
    fields = {name for model in MERGED for name in model.model_fields}
    every = {*merge.ADDED, *merge.ADDED_WHOLE, *merge.FIRST, *merge.TENTHS, *merge.EXTREME}
    assert every <= fields


def test_a_field_in_no_table_is_refused():
    class Other(RecordModel):
        colour: int

    with pytest.raises(TypeError, match="colour: no table says how it is merged"):
        merge.total([Other(colour=1), Other(colour=2)])


def test_what_one_did_not_tell_is_left_out_and_what_none_told_stays_unknown():
    one, other = records.progress(response_p99_ms=None), records.progress(response_p99_ms=7.0)
    assert merge.total([one, other]).response_p99_ms == 7.0
    assert merge.total([one, one]).response_p99_ms is None
    assert merge.total([records.load(connects=None).result] * 2).connects is None


def test_tenths_are_added_place_by_place_and_a_gap_of_one_is_a_gap():
    one, other = ({"backlog_tenths": tenths} for tenths in ((1, 2, None), (10, None, 30)))
    seconds = [load.Second.model_validate(records.second(0) | told) for told in (one, other)]
    assert merge.total(seconds).backlog_tenths == (11, None, None)


def test_groups_that_time_differently_say_so():
    engine = records.load(timing={"source": "engine", "resolution_us": 1})
    users = records.load(timing={"source": "locust users", "resolution_us": 1})
    assert merge.merged({"a": engine, "b": engine}).result.timing == engine.result.timing
    both = merge.merged({"a": engine, "b": users})
    assert both.result.timing == load.Timing(source="several")
    assert both.groups["b"].result.timing == users.result.timing
