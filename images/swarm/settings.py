"""What a swarm node is asked to do: `LAB_SWARM`, one JSON object, checked once and then frozen.

Times are in seconds (`_s`), rates per second (`_per_s`). A wrong setting raises `SettingsError`, which
names it; the process then ends with exit code 2.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import SettingsError

DEFAULT_HANDLER = {"http1": "hello", "echo": "echo", "greet": "hello", "datagram": "echo"}
WIRES = tuple(DEFAULT_HANDLER)
OPEN, CLOSED = "constant-arrival-rate", "constant-users"


@dataclass(frozen=True)
class Address:
    """A host (name or address) and a port."""

    host: str
    port: int


@dataclass(frozen=True)
class Load:
    """How requests come about: open (arrivals at a rate) or closed (each user waits, then thinks)."""

    executor: str
    rate_per_s: float = 0.0
    think_time_s: float = 0.0

    @property
    def is_open(self) -> bool:
        """Whether arrivals come whether or not the server has answered the ones before."""
        return self.executor != CLOSED


@dataclass(frozen=True)
class Settings:
    """Everything a master, a worker or an engine has to know."""

    target: Address
    wire: str
    handler: str
    users: int
    spawn_rate_per_s: float
    workers: int
    worker_index: int
    seed: int
    load: Load
    warmup_s: float
    measure_s: float
    connect_deadline_s: float
    request_timeout_s: float
    drain_s: float
    linger_s: float
    master: Address
    source_addresses: tuple[str, ...] = ()
    engines: int = 1
    raw: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def load_s(self) -> float:
        """Length of warm-up and measured window together."""
        return self.warmup_s + self.measure_s


def from_environment() -> Settings:
    """Read `LAB_SWARM`. Raises `SettingsError` if it is missing or wrong."""
    text = os.environ.get("LAB_SWARM")
    if text is None:
        raise SettingsError("LAB_SWARM is not set")
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise SettingsError(f"LAB_SWARM is not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise SettingsError("LAB_SWARM is not a JSON object")
    return parse(raw)


def parse(raw: Mapping[str, Any]) -> Settings:
    """Check one decoded `LAB_SWARM` object. Raises `SettingsError` naming the first wrong setting."""
    phases = _mapping(raw, "phases", {})
    wire = _one_of(raw, "wire", WIRES)
    return Settings(
        target=_address(raw, "target"),
        wire=wire,
        handler=str(raw.get("handler", DEFAULT_HANDLER[wire])),
        users=_whole(raw, "users", least=1),
        spawn_rate_per_s=_number(raw, "spawn_rate_per_s", 100.0, above=0.0),
        workers=_whole(raw, "workers", 1, least=1),
        worker_index=_whole(raw, "worker_index", 0, least=0),
        seed=_whole(raw, "seed", 0, least=0),
        load=_load(_mapping(raw, "load")),
        warmup_s=_number(phases, "warmup_s", 0.0, least=0.0),
        measure_s=_number(phases, "measure_s", above=0.0),
        connect_deadline_s=_number(raw, "connect_deadline_s", 15.0, above=0.0),
        request_timeout_s=_number(raw, "request_timeout_s", 5.0, above=0.0),
        drain_s=_number(raw, "drain_s", 5.0, least=0.0),
        linger_s=_number(raw, "linger_s", 0.0, least=0.0),
        master=_address(raw, "master", {"host": "127.0.0.1", "port": 5557}),
        source_addresses=tuple(str(a) for a in raw.get("source_addresses", ())),
        engines=_whole(raw, "engines", 1, least=1),
        raw=raw,
    )


def _load(raw: Mapping[str, Any]) -> Load:
    executor = _one_of(raw, "executor", (OPEN, CLOSED))
    if executor == CLOSED:
        return Load(executor, think_time_s=_number(raw, "think_time_s", 0.0, least=0.0))
    return Load(executor, rate_per_s=_number(raw, "rate_per_s", above=0.0))


def _address(raw: Mapping[str, Any], key: str, default: Mapping[str, Any] | None = None) -> Address:
    given = _mapping(raw, key, default)
    host = given.get("host")
    if not isinstance(host, str) or not host:
        raise SettingsError(f"{key}.host must be a name or an address, not {host!r}")
    return Address(host, _whole(given, "port", least=1))


def _mapping(raw: Mapping[str, Any], key: str, default: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
    value = raw.get(key, default)
    if not isinstance(value, Mapping):
        raise SettingsError(f"{key} must be an object, not {value!r}")
    return value


def _one_of(raw: Mapping[str, Any], key: str, known: tuple[str, ...]) -> str:
    value = raw.get(key)
    if value not in known:
        raise SettingsError(f"{key} must be one of {', '.join(known)}, not {value!r}")
    return str(value)


def _whole(raw: Mapping[str, Any], key: str, default: int | None = None, *, least: int) -> int:
    value = raw.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise SettingsError(f"{key} must be a whole number of at least {least}, not {value!r}")
    return value


def _number(
    raw: Mapping[str, Any],
    key: str,
    default: float | None = None,
    *,
    least: float | None = None,
    above: float | None = None,
) -> float:
    value = raw.get(key, default)
    right = isinstance(value, int | float) and not isinstance(value, bool)
    right = right and (least is None or value >= least) and (above is None or value > above)
    if not right:
        bound = f"of at least {least:g}" if least is not None else f"above {above:g}"
        raise SettingsError(f"{key} must be a number {bound}, not {value!r}")
    return float(value)
