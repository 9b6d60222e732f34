"""The table of executors: names that are taken, names that are unknown, loads that nobody writes."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from swarm.executors import EXECUTORS as IN_THE_SWARM

from lab.scenario.load import BY_GROUP, OWN_USERS, Load, by_group, own_users
from lab.scenario.load.executor import EXECUTORS, ClosedLoad, find, register


def test_a_name_that_is_taken_is_an_error() -> None:
    before = dict(EXECUTORS)
    with pytest.raises(ValueError, match="two executors have the name constant-users"):

        @register
        class Second(ClosedLoad):
            name = "constant-users"

    assert before == EXECUTORS


def test_an_unknown_name_lists_those_that_can_be_written() -> None:
    with pytest.raises(ValueError, match="unknown executor 'x'; known: ") as caught:
        find("x", written=False)
    known = str(caught.value).partition("known: ")[2].split(", ")
    assert sorted(known) == sorted(IN_THE_SWARM), "what a person may write, and what the swarm runs"
    with pytest.raises(ValueError, match="unknown executor 'own-users'"):
        find(OWN_USERS, written=True)


@pytest.mark.parametrize(
    ("load", "name", "closed"), [(own_users(), OWN_USERS, True), (by_group(), BY_GROUP, False)]
)
def test_a_load_that_nobody_writes_is_kept_and_told(load: Load, name: str, closed: bool) -> None:
    assert Load.model_validate(load.model_dump(mode="json")) == load
    assert (load.executor, load.is_closed, load.is_ramping, load.max_rate_per_s) == (
        name,
        closed,
        False,
        None,
    )
    assert load.max_users(7) == 7
    with pytest.raises(ValueError, match="LAB_SWARM"):
        load.settings()
    with pytest.raises(ValueError, match="has no rate"):
        load.arrivals_due(1.0)
    with pytest.raises(ValidationError, match="takes no rate"):
        Load.model_validate({"executor": name, "rate": 5.0})


CLOSED: dict[str, Any] = {
    "executor": "ramping-users",
    "think_time": 0.5,
    "stages": [{"duration": 1.0, "target": 900}],
}


def test_the_most_users_are_those_of_the_highest_stage_or_of_the_start() -> None:
    assert tuple(Load.model_validate(CLOSED).max_users(users) for users in (100, 1000)) == (900, 1000)
    assert Load.model_validate(CLOSED).max_rate_per_s is None


def test_the_highest_rate_is_that_of_any_stage() -> None:
    stages = [{"duration": 4.0, "target": 900.0}, {"duration": 0.0, "target": 50.0}]
    load = Load.model_validate({"executor": "ramping-arrival-rate", "start_rate": 100.0, "stages": stages})
    assert (load.max_rate_per_s, load.is_ramping, load.stages_s) == (900.0, True, 4.0)
