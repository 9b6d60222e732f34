"""The settings of a swarm node: `LAB_SWARM`, one JSON object, checked once and frozen.

Times are in seconds (`_s`), rates per second (`_per_s`). A wrong setting raises `SettingsError`, which
names it; the process then ends with exit code 2.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

from wire import NAMES as WIRES
from wire import load as load_wire

from . import executors, fields
from .clients import Clients, parse_clients
from .errors import SettingsError
from .executors import Executor
from .executors.constant_users import ConstantUsers
from .fields import JsonObject

KNOWN = (
    "target", "wire", "handler", "users", "spawn_rate_per_s", "workers", "worker_index", "seed", "load",
    "phases", "connect_deadline_s", "request_timeout_s", "drain_s", "linger_s", "master", "source_addresses",
    "engines", "clients", "page", "locustfile", "ui", "barrier", "tell_window", "real_time",
)  # fmt: skip


@dataclass(frozen=True)
class Address:
    """A host (name or address) and a port."""

    host: str
    port: int


@dataclass(frozen=True)
class PageSettings:
    """Resources that make up one request: one after the other, or all at once (pipelined)."""

    paths: tuple[str, ...]
    at_once: bool


@dataclass(frozen=True)
class UiSettings:
    """Locust's web page, served by the master."""

    host: str
    port: int
    password: str


@dataclass(frozen=True)
class Settings:
    """The settings of a master, a worker or an engine."""

    target: Address
    wire: str
    handler: str
    users: int
    spawn_rate_per_s: float
    workers: int
    worker_index: int
    seed: int
    load: Executor
    clients: Clients
    warmup_s: float
    measure_s: float
    cooldown_s: float
    connect_deadline_s: float
    request_timeout_s: float
    drain_s: float
    linger_s: float
    master: Address
    source_addresses: tuple[str, ...]
    engines: int
    page: PageSettings | None
    locustfile: str | None
    ui: UiSettings | None
    barrier: bool
    tell_window: bool
    real_time: bool

    @property
    def load_s(self) -> float:
        """Length of the warm-up, the measured window and the cool-down together."""
        return self.warmup_s + self.measure_s + self.cooldown_s


def from_environment() -> Settings:
    """Read `LAB_SWARM`.

    Raises:
        SettingsError: It is missing or wrong.
    """
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


def parse(raw: JsonObject) -> Settings:
    """Check one decoded `LAB_SWARM` object.

    Raises:
        SettingsError: A setting is wrong; the message names the first one.
    """
    fields.refuse_unknown(raw, "LAB_SWARM", KNOWN)
    phases = fields.json_object(raw, "phases", {})
    wire = fields.one_of(raw, "wire", WIRES)
    locustfile = raw.get("locustfile")
    settings = Settings(
        target=_address(raw, "target"),
        wire=wire,
        handler=str(raw.get("handler", load_wire(wire).DEFAULT_HANDLER)),
        users=fields.integer(raw, "users", least=1),
        spawn_rate_per_s=fields.positive(raw, "spawn_rate_per_s", 100.0),
        workers=fields.integer(raw, "workers", 1, least=1),
        worker_index=fields.integer(raw, "worker_index", 0, least=0),
        seed=fields.integer(raw, "seed", 0, least=0),
        load=ConstantUsers() if locustfile else executors.parse(fields.json_object(raw, "load")),
        clients=parse_clients(fields.json_object(raw, "clients", {})),
        warmup_s=fields.non_negative(phases, "warmup_s", 0.0),
        measure_s=fields.positive(phases, "measure_s"),
        cooldown_s=fields.non_negative(phases, "cooldown_s", 0.0),
        connect_deadline_s=fields.positive(raw, "connect_deadline_s", 15.0),
        request_timeout_s=fields.positive(raw, "request_timeout_s", 5.0),
        drain_s=fields.non_negative(raw, "drain_s", 5.0),
        linger_s=fields.non_negative(raw, "linger_s", 0.0),
        master=_address(raw, "master", {"host": "127.0.0.1", "port": 5557}),
        source_addresses=tuple(str(address) for address in fields.array(raw, "source_addresses")),
        engines=fields.integer(raw, "engines", 1, least=1),
        page=_page(fields.json_object(raw, "page")) if "page" in raw else None,
        locustfile=str(locustfile) if locustfile else None,
        ui=_ui(fields.json_object(raw, "ui")) if "ui" in raw else None,
        barrier=fields.boolean(raw, "barrier"),
        tell_window=fields.boolean(raw, "tell_window"),
        real_time=fields.boolean(raw, "real_time"),
    )
    _fit_together(settings)
    return settings


def _fit_together(settings: Settings) -> None:
    clients = settings.clients
    if settings.page is not None and (settings.wire != "http1" or clients.churn or clients.slow_share):
        raise SettingsError("page: needs the wire http1 without churn and slow clients")
    if settings.clients.idle_share and settings.load.ramps_users:
        raise SettingsError("clients.idle_share: not with ramping-users, which does not say who leaves")
    if settings.wire == "datagram" and clients.churn:
        raise SettingsError("clients.churn: datagrams have no connections")
    if settings.wire in ("datagram", "greet") and (clients.slow_share or clients.idle_share):
        raise SettingsError(
            f"clients: {settings.wire} has no lasting connection, so no idle and no slow clients"
        )


def _address(raw: JsonObject, key: str, default: JsonObject | None = None) -> Address:
    given = fields.json_object(raw, key, default)
    host = given.get("host")
    if not isinstance(host, str) or not host:
        raise SettingsError(f"{key}.host must be a name or an address, not {host!r}")
    return Address(host, fields.integer(given, "port", least=1))


def _page(raw: JsonObject) -> PageSettings:
    fields.refuse_unknown(raw, "page", ("paths", "at_once"))
    paths = tuple(str(path) for path in fields.array(raw, "paths"))
    if not paths or not all(path.startswith("/") for path in paths):
        raise SettingsError(f"page.paths must be paths such as /plaintext, not {list(paths)!r}")
    return PageSettings(paths, fields.boolean(raw, "at_once"))


def _ui(raw: JsonObject) -> UiSettings:
    fields.refuse_unknown(raw, "ui", ("host", "port", "password"))
    password = raw.get("password")
    if not isinstance(password, str) or not password:
        raise SettingsError("ui.password must be a text that is not empty")
    host = str(raw.get("host", "0.0.0.0"))
    return UiSettings(host, fields.integer(raw, "port", least=1), password)
