"""The table of executors, and what each says about the load as a whole."""

from __future__ import annotations

from typing import Any

import pytest
from swarm import executors
from swarm.errors import SettingsError
from swarm.executors import EXECUTORS, Executor, UserStep, by_kind
from swarm.executors.constant_users import ConstantUsers
from swarm.executors.ramping_users import RampingUsers
from swarm.executors.stages import Stage

STAGES: list[dict[str, Any]] = [
    {"duration_s": 2, "target_users": 30},
    {"duration_s": 0, "target_users": 5},
    {"duration_s": 3, "target_users": 5},
]
SETTINGS: dict[str, dict[str, Any]] = {
    "constant-arrival-rate": {"rate_per_s": 5},
    "ramping-arrival-rate": {"stages": [{"duration_s": 1, "target_per_s": 9}]},
    "constant-users": {"think_time_s": 1},
    "ramping-users": {"stages": STAGES},
}


def test_two_executors_of_one_kind_are_an_error() -> None:
    class Another(ConstantUsers):
        pass

    with pytest.raises(ValueError, match="two executors 'constant-users'"):
        by_kind(ConstantUsers, Another)


@pytest.mark.parametrize("kind", EXECUTORS)
def test_every_executor_reads_its_settings_and_refuses_others(kind: str) -> None:
    raw = {"executor": kind, **SETTINGS[kind]}
    assert executors.parse(raw).kind == kind
    with pytest.raises(SettingsError, match="unknown setting 'speed'"):
        executors.parse(raw | {"speed": 1})


def ramp() -> Executor:
    return executors.parse({"executor": "ramping-users", "stages": STAGES})


def test_a_stage_of_users_is_a_step_of_locusts() -> None:
    assert list(ramp().user_steps(10)) == [
        UserStep(2.0, 30, 10.0),
        UserStep(0.0, 5, 25.0),
        UserStep(3.0, 5, 0.0),
    ]
    assert list(ConstantUsers().user_steps(10)) == []


def test_connections_are_opened_as_fast_as_the_steepest_stage() -> None:
    assert ramp().peak_spawn_rate_per_s(10, 2.0) == 10.0
    assert RampingUsers((Stage(0.0, 40.0),)).peak_spawn_rate_per_s(10, 2.0) == 30.0
    assert ConstantUsers().peak_spawn_rate_per_s(10, 2.0) == 2.0
