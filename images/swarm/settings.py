"""What a swarm node is asked to do: `LAB_SWARM`, one JSON object, checked once and then frozen.

Times are in seconds (`_s`), rates per second (`_per_s`). A wrong setting raises `SettingsError`, which
names it; the process then ends with exit code 2.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

from . import executors, fields
from .clients import Clients, parse_clients
from .errors import SettingsError
from .executors import Executor
from .executors.constant_users import ConstantUsers
from .fields import Raw

DEFAULT_HANDLER = {"http1": "hello", "echo": "echo", "greet": "hello", "datagram": "echo"}
WIRES = tuple(DEFAULT_HANDLER)
KNOWN = (
    "target", "wire", "handler", "users", "spawn_rate_per_s", "workers", "worker_index", "seed", "load",
    "phases", "connect_deadline_s", "request_timeout_s", "drain_s", "linger_s", "master", "source_addresses",
    "engines", "clients", "page", "locustfile", "ui", "barrier", "tell_window",
)  # fmt: skip


@dataclass(frozen=True)
class Address:
    """A host (name or address) and a port."""

    host: str
    port: int


@dataclass(frozen=True)
class Page:
    """Resources that make up one request: one after the other on a connection, or all at once (pipelined)."""

    paths: tuple[str, ...]
    at_once: bool


@dataclass(frozen=True)
class Ui:
    """Locust's own page, served by the master."""

    host: str
    port: int
    password: str


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
    load: Executor
    clients: Clients
    warmup_s: float
    measure_s: float
    connect_deadline_s: float
    request_timeout_s: float
    drain_s: float
    linger_s: float
    master: Address
    source_addresses: tuple[str, ...]
    engines: int
    page: Page | None
    locustfile: str | None
    ui: Ui | None
    barrier: bool
    tell_window: bool

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


def parse(raw: Raw) -> Settings:
    """Check one decoded `LAB_SWARM` object. Raises `SettingsError` naming the first wrong setting."""
    fields.only(raw, "LAB_SWARM", KNOWN)
    phases = fields.mapping(raw, "phases", {})
    wire = fields.one_of(raw, "wire", WIRES)
    locustfile = raw.get("locustfile")
    settings = Settings(
        target=_address(raw, "target"),
        wire=wire,
        handler=str(raw.get("handler", DEFAULT_HANDLER[wire])),
        users=fields.whole(raw, "users", least=1),
        spawn_rate_per_s=fields.positive(raw, "spawn_rate_per_s", 100.0),
        workers=fields.whole(raw, "workers", 1, least=1),
        worker_index=fields.whole(raw, "worker_index", 0, least=0),
        seed=fields.whole(raw, "seed", 0, least=0),
        load=ConstantUsers() if locustfile else executors.parse(fields.mapping(raw, "load")),
        clients=parse_clients(fields.mapping(raw, "clients", {})),
        warmup_s=fields.amount(phases, "warmup_s", 0.0),
        measure_s=fields.positive(phases, "measure_s"),
        connect_deadline_s=fields.positive(raw, "connect_deadline_s", 15.0),
        request_timeout_s=fields.positive(raw, "request_timeout_s", 5.0),
        drain_s=fields.amount(raw, "drain_s", 5.0),
        linger_s=fields.amount(raw, "linger_s", 0.0),
        master=_address(raw, "master", {"host": "127.0.0.1", "port": 5557}),
        source_addresses=tuple(str(address) for address in fields.items(raw, "source_addresses")),
        engines=fields.whole(raw, "engines", 1, least=1),
        page=_page(fields.mapping(raw, "page")) if "page" in raw else None,
        locustfile=str(locustfile) if locustfile else None,
        ui=_ui(fields.mapping(raw, "ui")) if "ui" in raw else None,
        barrier=fields.flag(raw, "barrier"),
        tell_window=fields.flag(raw, "tell_window"),
    )
    _fit_together(settings)
    return settings


def _fit_together(settings: Settings) -> None:
    clients = settings.clients
    if settings.page is not None and (settings.wire != "http1" or clients.churn or clients.slow_share):
        raise SettingsError("page: needs the wire http1, on connections that last, with no slow clients")
    if settings.clients.idle_share and settings.load.ramps_users:
        raise SettingsError("clients.idle_share: with ramping-users, who leaves would not be defined")
    if settings.wire == "datagram" and clients.churn:
        raise SettingsError("clients.churn: datagrams have no connections")
    if settings.wire in ("datagram", "greet") and (clients.slow_share or clients.idle_share):
        raise SettingsError(
            f"clients: {settings.wire} has no connection to hold, no request that could be slow"
        )


def _address(raw: Raw, key: str, default: Raw | None = None) -> Address:
    given = fields.mapping(raw, key, default)
    host = given.get("host")
    if not isinstance(host, str) or not host:
        raise SettingsError(f"{key}.host must be a name or an address, not {host!r}")
    return Address(host, fields.whole(given, "port", least=1))


def _page(raw: Raw) -> Page:
    fields.only(raw, "page", ("paths", "at_once"))
    paths = tuple(str(path) for path in fields.items(raw, "paths"))
    if not paths or not all(path.startswith("/") for path in paths):
        raise SettingsError(f"page.paths must be paths such as /plaintext, not {list(paths)!r}")
    return Page(paths, fields.flag(raw, "at_once"))


def _ui(raw: Raw) -> Ui:
    fields.only(raw, "ui", ("host", "port", "password"))
    password = raw.get("password")
    if not isinstance(password, str) or not password:
        raise SettingsError("ui.password must be a text that is not empty")
    host = str(raw.get("host", "0.0.0.0"))
    return Ui(host, fields.whole(raw, "port", least=1), password)
