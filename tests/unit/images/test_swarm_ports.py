"""Ports are planned before the load."""

from __future__ import annotations

from typing import Any

import pytest
from swarm import ports, settings
from swarm.errors import HostError


def load(**changes: Any) -> settings.Settings:
    return settings.parse(
        {
            "target": {"host": "server", "port": 9102},
            "wire": "greet",
            "users": 100,
            "workers": 2,
            "load": {"executor": "constant-arrival-rate", "rate_per_s": 1000},
            "phases": {"measure_s": 30},
        }
        | changes
    )


@pytest.mark.parametrize(
    ("changes", "reuse", "needed"),
    [
        ({}, 2, 500 * 30 + 50),
        ({"phases": {"measure_s": 600}}, 0, 500 * 60 + 50),
        ({}, 1, 500 + 50),
        ({"target": {"host": "127.0.0.1", "port": 1}}, 2, 500 + 50),
        ({"wire": "http1", "clients": {"churn": True}}, 0, 0),
        ({"wire": "echo"}, 0, 0),
        ({"wire": "echo", "clients": {"churn": True}}, 0, 500 * 30 + 50),
        ({"load": {"executor": "constant-users"}}, 0, 0),
    ],
    ids=["open", "long", "reuse", "loopback", "http", "kept", "echo churn", "closed"],
)
def test_ports_needed(changes: dict[str, Any], reuse: int, needed: int) -> None:
    assert ports.needed(load(**changes), reuse) == needed


def test_source_addresses_multiply_the_ports() -> None:
    one, three = load(), load(source_addresses=["10.0.0.1", "10.0.0.2", "10.0.0.3"])
    assert ports.available(three) == 3 * ports.available(one)


def test_a_rate_beyond_the_ports_is_refused() -> None:
    greedy = {"executor": "constant-arrival-rate", "rate_per_s": 1e6}
    with pytest.raises(HostError, match="ports needed"):
        ports.check(load(load=greedy))
    ports.check(load())
