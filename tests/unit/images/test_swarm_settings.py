"""`LAB_SWARM`: what is accepted, and which setting an error names."""

from __future__ import annotations

import json
from typing import Any

import pytest
from swarm import settings
from swarm.errors import SettingsError
from swarm.executors import EXECUTORS
from swarm.executors.constant_arrival_rate import ConstantArrivalRate
from swarm.executors.constant_users import ConstantUsers
from swarm.executors.ramping_arrival_rate import RampingArrivalRate
from swarm.executors.stages import Stage
from swarm.executors.think_time import ThinkTime

CONTRACT_EXAMPLE = """
{"target": {"host": "server", "port": 9102}, "wire": "http1", "handler": "hello",
 "users": 10000, "spawn_rate_per_s": 2000, "workers": 2, "worker_index": 0, "seed": 7,
 "load": {"executor": "constant-arrival-rate", "rate_per_s": 2000},
 "phases": {"warmup_s": 3, "measure_s": 10}, "connect_deadline_s": 15, "request_timeout_s": 5,
 "drain_s": 5, "master": {"host": "master", "port": 5557}, "source_addresses": []}
"""


def raw(**changes: Any) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(CONTRACT_EXAMPLE)
    result.update(changes)
    return result


def test_the_contracts_example_is_accepted() -> None:
    given = settings.parse(raw())
    assert given.target == settings.Address("server", 9102)
    assert given.load == ConstantArrivalRate(2000.0)
    assert (given.load.peak_rate_per_s, given.load_s, given.engines) == (2000.0, 13.0, 1)


def test_a_closed_load() -> None:
    given = settings.parse(raw(load={"executor": "constant-users", "think_time_s": 0.5}))
    assert given.load == ConstantUsers(ThinkTime(a_s=0.5))
    assert given.load.peak_rate_per_s is None


def test_stages() -> None:
    stages = [{"duration_s": 5, "target_per_s": 100}, {"duration_s": 0, "target_per_s": 10}]
    load = {
        "executor": "ramping-arrival-rate",
        "start_rate_per_s": 20,
        "stages": stages,
        "arrivals": "poisson",
    }
    given = settings.parse(raw(load=load)).load
    assert given == RampingArrivalRate(20.0, (Stage(5.0, 100.0), Stage(0.0, 10.0)), "poisson")
    assert given.peak_rate_per_s == 100.0


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"wire": "htpp"}, "wire"),
        ({"users": 0}, "users"),
        ({"users": True}, "users"),
        ({"users": 1.5}, "users"),
        ({"spawn_rate_per_s": 0}, "spawn_rate_per_s"),
        ({"load": {"executor": "constant-arrival-rate"}}, "rate_per_s"),
        (
            {"load": {"executor": "fast"}},
            f"executor must be one of {', '.join(EXECUTORS)}, not",
        ),
        ({"load": {"executor": "constant-arrival-rate", "rate_per_s": 5, "start_rate_per_s": 5}}, "unknown"),
        ({"load": None}, "load"),
        ({"phases": {"warmup_s": -1, "measure_s": 1}}, "warmup_s"),
        ({"phases": {"warmup_s": 1}}, "measure_s"),
        ({"target": {"host": "", "port": 1}}, "target.host"),
        ({"target": {"host": "server", "port": "http"}}, "port"),
        ({"drain_s": "5"}, "drain_s"),
        ({"drain": 5}, "unknown setting 'drain'"),
        ({"load": {"executor": "constant-users", "rate_per_s": 5}}, "unknown setting 'rate_per_s'"),
        ({"load": {"executor": "ramping-arrival-rate", "start_rate_per_s": 5}}, "stages"),
        (
            {"load": {"executor": "constant-users", "stages": [{"duration_s": 1, "target_users": 3}]}},
            "stages",
        ),
        ({"load": {"executor": "constant-users", "think_time": {"distribution": "zipf"}}}, "distribution"),
        (
            {
                "load": {
                    "executor": "constant-users",
                    "think_time": {"distribution": "uniform", "min_s": 2, "max_s": 1},
                }
            },
            "min_s",
        ),
        ({"clients": {"idle_share": 1.5}}, "idle_share"),
        ({"clients": {"idle_share": 0.6, "slow_share": 0.6}}, "together"),
        ({"clients": {"slow_share": 0.1, "slow_bytes_per_s": 101}}, "at most 100"),
        ({"clients": {"slow_share": 0.1}, "page": {"paths": ["/"]}}, "without churn and slow clients"),
        ({"wire": "greet", "clients": {"idle_share": 0.1}}, "no lasting connection"),
        ({"clients": {"idle_share": 0.6, "churn": True}}, "churn"),
        ({"wire": "datagram", "handler": "echo", "clients": {"churn": True}}, "churn"),
        ({"page": {"paths": []}}, "page.paths"),
        ({"page": {"paths": ["/"]}, "wire": "echo"}, "page"),
        ({"ui": {"port": 8089, "password": ""}}, "password"),
    ],
)
def test_a_wrong_setting_is_named(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        settings.parse(raw(**changes))


@pytest.mark.parametrize("text", [None, "{", "[]"])
def test_what_is_no_object_is_refused(monkeypatch: pytest.MonkeyPatch, text: str | None) -> None:
    monkeypatch.delenv("LAB_SWARM", raising=False)
    if text is not None:
        monkeypatch.setenv("LAB_SWARM", text)
    with pytest.raises(SettingsError, match="LAB_SWARM"):
        settings.from_environment()
