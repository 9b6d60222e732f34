"""The settings of a node as values; a runtime turns them into environment variables (images/CONTRACT.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Protocol

from lab.scenario.swarm import Clients, Swarm

# Fields of Clients that have another name in LAB_SWARM.
CLIENT_NAMES = {"idle": "idle_share", "slow": "slow_share", "slow_rate": "slow_bytes_per_s"}


class NodeSettings(Protocol):
    """The settings of a node."""

    def environment(self) -> Mapping[str, str]:
        """Return the environment variables that the node reads."""
        ...


@dataclass(frozen=True)
class ServerSettings:
    """The settings of a server. `model` is empty for an image that is not the lab's."""

    model: str
    wire: str
    handler: str
    host: str
    port: int
    backlog: int
    workers: int

    def environment(self) -> dict[str, str]:
        """Return one variable per setting: `LAB_MODEL`, `LAB_WIRE` and so on."""
        return {f"LAB_{name.upper()}": str(value) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Address:
    """A host (a name or an address) and a port."""

    host: str
    port: int


@dataclass(frozen=True)
class WebUi:
    """Where a master serves the Locust web UI, and its password."""

    host: str
    port: int
    password: str = field(repr=False)


@dataclass(frozen=True)
class SwarmSettings:
    """What a master or a worker is asked to do: `swarm` is its group's part of the scenario.

    `locustfile` is a path inside the node. `linger_s` is how long it stays after its result. With `barrier`
    it waits for the other groups, with `tell_window` it tells the window's figures while the load runs. With
    `real_time` its engines ask for the real-time class.
    """

    target: Address
    master: Address
    swarm: Swarm
    handler: str
    seed: int
    worker_index: int
    linger_s: float
    locustfile: str | None = None
    barrier: bool = False
    tell_window: bool = False
    real_time: bool = False
    ui: WebUi | None = None

    def environment(self) -> dict[str, str]:
        """Return `LAB_SWARM`, one JSON object."""
        return {"LAB_SWARM": json.dumps(self.to_json(), separators=(",", ":"))}

    def to_json(self) -> dict[str, object]:
        """Return the object in LAB_SWARM, without optional keys that are not set."""
        swarm, phases = self.swarm, self.swarm.phases
        load = {"locustfile": self.locustfile} if self.locustfile else {"load": swarm.load.settings()}
        return {
            "target": asdict(self.target),
            "wire": swarm.wire,
            "handler": self.handler,
            "users": swarm.users,
            "spawn_rate_per_s": swarm.spawn_rate,
            "workers": swarm.workers,
            "worker_index": self.worker_index,
            "seed": self.seed,
            **load,
            "phases": {
                "warmup_s": phases.warmup,
                "measure_s": phases.measure,
                "cooldown_s": phases.cooldown,
            },
            "connect_deadline_s": swarm.connect_deadline,
            "request_timeout_s": swarm.request_timeout,
            "drain_s": swarm.drain,
            "linger_s": self.linger_s,
            "master": asdict(self.master),
            "source_addresses": [],
            **self._optional_keys(),
        }

    def _optional_keys(self) -> dict[str, object]:
        page = self.swarm.page
        asked = {
            "engines": self.swarm.engines if self.swarm.engines > 1 else None,
            "clients": _clients(self.swarm.clients),
            "page": {"paths": list(page.paths), "at_once": page.at_once} if page else None,
            "barrier": self.barrier,
            "tell_window": self.tell_window,
            "real_time": self.real_time,
            "ui": asdict(self.ui) if self.ui else None,
        }
        return {name: value for name, value in asked.items() if value}


def _clients(clients: Clients) -> dict[str, object]:
    given = clients.model_dump(exclude_none=True, exclude_defaults=True)
    return {CLIENT_NAMES.get(name, name): value for name, value in given.items()}
