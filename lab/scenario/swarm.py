"""The swarm's part of a scenario: who sends, how many, when. Words: Locust's users, k6's executors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ModelWrapValidatorHandler, ValidationInfo, model_validator

from lab.common import units
from lab.scenario.load import BY_GROUP, OWN_USERS, Load, by_group, own_users
from lab.scenario.strict import BytesPerS, Name, ScenarioModel, Seconds, Share, as_written, kebab, unknown

Wire = Literal["http1", "echo", "greet", "datagram"]
# A connection for every exchange, or none at all: nothing to hold, and no request that could be slow.
ONE_EXCHANGE = ("greet", "datagram")
# What the server has besides the handler's own `/` (images/CONTRACT.md).
PAGE_PATHS = ("/", "/plaintext", "/json")
# A slow client does one byte each time its engine looks after it, every 10 ms.
SLOW_MAX_BYTES_PER_S = 100.0
MAX_GROUPS = 8
RESERVED = ("swarm", "servers", "server", "master")  # endpoints and nodes of that name are something else
DEADLINES = ("connect_deadline", "request_timeout", "drain")


class Phases(ScenarioModel):
    """The load clock: warm-up, then the measured window."""

    warmup: Seconds = 3.0
    measure: Seconds = 10.0

    @model_validator(mode="after")
    def _long_enough(self) -> Phases:
        if self.measure < 1:
            raise ValueError("measure must be at least 1s: figures are kept per second")
        return self


class Clients(ScenarioModel):
    """What kinds of clients the users are: shares of all; who is neither idle nor slow carries the load.

    `idle` hold a connection and never speak; `slow` write their request or read their answer a few bytes a
    second, beside the load and its figures; with `churn` every request has a connection of its own.
    """

    idle: Share = 0.0
    slow: Share = 0.0
    slow_side: Literal["write", "read"] | None = None
    slow_rate: BytesPerS | None = None
    churn: bool = False

    @model_validator(mode="after")
    def _agree(self) -> Clients:
        if self.idle and self.churn:
            raise ValueError("idle clients hold their connection, churn ends it: one or the other")
        if "slow" not in self.model_fields_set and (self.slow_side or self.slow_rate is not None):
            raise ValueError("slow-side and slow-rate belong to slow (such as slow: 5%)")
        if self.slow_rate is not None and not 0 < self.slow_rate <= SLOW_MAX_BYTES_PER_S:
            raise ValueError(f"slow-rate: from above 0 to {SLOW_MAX_BYTES_PER_S:g}B/s, a byte at a time")
        return self


class Page(ScenarioModel):
    """A request that is several resources: one after the other on a connection, or pipelined (`at-once`)."""

    paths: tuple[str, ...] = Field(min_length=1, strict=False)
    at_once: bool = False

    @model_validator(mode="after")
    def _known(self) -> Page:
        for path in self.paths:
            if path not in PAGE_PATHS:
                raise ValueError("paths: " + unknown(path, list(PAGE_PATHS), "resource"))
        return self


def _locustfile(text: str) -> str:
    path = PurePosixPath(text)
    if path.suffix != ".py" or path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{text!r}: a Python file in the scenario's folder, or below it, is wanted")
    return str(path)


class Swarm(ScenarioModel):
    """The client side. A user is a connection; with a `locustfile`, a Locust user of one's own."""

    wire: Wire = "http1"
    workers: int = Field(default=2, ge=1, le=64)
    engines: int = Field(default=1, ge=1, le=64)
    users: int = Field(ge=1, le=1_000_000)
    spawn_rate: float = Field(default=500, gt=0)
    load: Load
    locustfile: Annotated[str, AfterValidator(_locustfile)] | None = None
    clients: Clients = Clients()
    page: Page | None = None
    phases: Phases = Phases()
    connect_deadline: Seconds = 10.0
    request_timeout: Seconds = 5.0
    drain: Seconds = 5.0
    groups: dict[Name, Swarm] = Field(default_factory=dict)

    @property
    def all_groups(self) -> tuple[SwarmGroup, ...]:
        """Its groups; of a swarm without any, itself as the one that has no name."""
        named = tuple(SwarmGroup(name, swarm) for name, swarm in self.groups.items())
        return named or (SwarmGroup("", self),)

    @property
    def worker_nodes(self) -> tuple[str, ...]:
        """The names of all workers, group by group."""
        return tuple(worker for group in self.all_groups for worker in group.workers)

    @property
    def max_users(self) -> int:
        """The most users there ever are: the ramp's, or those of the highest stage."""
        if self.groups:
            return sum(group.max_users for group in self.groups.values())
        return self.load.max_users(self.users)

    @property
    def one_exchange(self) -> bool:
        """Whether a connection lasts for one exchange only: then users hold none in between."""
        return self.clients.churn or self.wire in ONE_EXCHANGE

    @model_validator(mode="wrap")
    @classmethod
    def _of_groups(cls, data: Any, handler: ModelWrapValidatorHandler[Swarm]) -> Swarm:
        """Of several groups: what holds for all of them together, and each by its name."""
        if not (isinstance(data, dict) and data.get("groups")):
            return handler(data)
        checked = handler({"users": 1, "workers": 1, "load": by_group(), **data})
        return checked.model_copy(update=_combined(checked.groups))

    @model_validator(mode="before")
    @classmethod
    def _brings_its_load(cls, data: Any, info: ValidationInfo) -> Any:
        if not isinstance(data, dict) or data.get("locustfile") is None:
            return data
        for name in ("load", "clients", "page", "engines"):
            if name in data and as_written(info):
                raise ValueError(f"{name} is the business of the locustfile: give one or the other")
        return {"load": own_users(), **data}

    @model_validator(mode="after")
    def _load_has_its_users(self) -> Swarm:
        """Loads that nobody writes: a record may hold one only with the users that it belongs to."""
        own = self.load.executor == OWN_USERS
        if own != (self.locustfile is not None):
            raise ValueError(f"load: {OWN_USERS} is the load of a locustfile, and of nothing else")
        if (self.load.executor == BY_GROUP) != bool(self.groups):
            raise ValueError(f"load: {BY_GROUP} is the load of a swarm of groups, and of nothing else")
        if own and (self.clients != Clients() or self.page is not None or self.engines != 1):
            raise ValueError("clients, page and engines are the business of the locustfile")
        return self

    @model_validator(mode="after")
    def _shares(self) -> Swarm:
        if self.groups:  # each of them was asked
            return self
        if self.users < self.workers:
            raise ValueError(f"{self.workers} workers cannot share {self.users} users: at least one each")
        engines = self.workers * self.engines
        if self.users < engines:
            raise ValueError(f"{engines} engines cannot share {self.users} users: at least one each")
        each = self.users // engines
        if each <= int(each * self.clients.idle) + int(each * self.clients.slow):
            raise ValueError(f"clients: of an engine's {each} users none is left to carry the load")
        return self

    @model_validator(mode="after")
    def _stages_fit(self) -> Swarm:
        if self.load.stages_s > self.phases.measure:
            took, window = (units.show_seconds(s) for s in (self.load.stages_s, self.phases.measure))
            raise ValueError(f"load.stages: they take {took}, the measured window is {window}")
        return self

    @model_validator(mode="after")
    def _clients_fit(self) -> Swarm:
        """What makes no sense together; the swarm's nodes refuse the same (images/CONTRACT.md)."""
        clients = self.clients
        if self.page is not None and (self.wire != "http1" or clients.churn or clients.slow):
            raise ValueError("page: needs the wire http1, on connections that last, with no slow clients")
        if self.wire in ONE_EXCHANGE and (clients.idle or clients.slow or clients.churn):
            raise ValueError(
                f"clients: {self.wire} has one exchange per connection: none to hold, slow or churn"
            )
        if clients.idle and self.load.executor == "ramping-users":
            raise ValueError("clients.idle: with ramping-users, who leaves would not be defined")
        return self


@dataclass(frozen=True)
class SwarmGroup:
    """A part of the swarm with a master and workers of its own. The only one of a swarm has no name."""

    name: str
    swarm: Swarm

    @property
    def master(self) -> str:
        """Its master's node: `master`, `browsers-master`."""
        return self.node("master")

    @property
    def workers(self) -> tuple[str, ...]:
        """Its workers' nodes: `worker-0`, `browsers-worker-0` and so on."""
        return tuple(self.node(f"worker-{index}") for index in range(self.swarm.workers))

    def node(self, role: str) -> str:
        """The name of one of its nodes."""
        return f"{self.name}-{role}" if self.name else role


def is_map_of_groups(value: Any) -> bool:
    """Whether a swarm, as written, is a map of named groups: maps, none of them under a word of a swarm's."""
    words = {word for name in Swarm.model_fields if name != "groups" for word in (name, kebab(name))}
    return isinstance(value, dict) and bool(value) and not words & set(value) and _all_maps(value)


def read_groups(value: Any) -> Any:
    """A swarm as written; one of named groups becomes `{groups: …}`."""
    return {"groups": value} if is_map_of_groups(value) else value


def _all_maps(value: dict[Any, Any]) -> bool:
    return all(isinstance(one, dict) for one in value.values())


def _combined(groups: Mapping[str, Swarm]) -> dict[str, Any]:
    """What is said of all groups as one swarm. Raises ValueError where they do not go together."""
    if len(groups) > MAX_GROUPS:
        raise ValueError(f"{len(groups)} groups: at most {MAX_GROUPS}")
    for name, swarm in groups.items():
        if name in RESERVED or name.startswith("worker-") or swarm.groups:
            raise ValueError(f"{name}: no name for a group; {', '.join(RESERVED)} and worker-… mean others")
    each = list(groups.values())
    for what in ("wire", "phases"):
        if any(getattr(swarm, what) != getattr(each[0], what) for swarm in each):
            raise ValueError(f"{what} must be the same for all groups: they are measured together")
    users = sum(swarm.users for swarm in each)
    return {
        "wire": each[0].wire,
        "phases": each[0].phases,
        "users": users,
        "workers": sum(swarm.workers for swarm in each),
        "engines": max(swarm.engines for swarm in each),
        "spawn_rate": users / max(swarm.users / swarm.spawn_rate for swarm in each),
        **{name: max(getattr(swarm, name) for swarm in each) for name in DEADLINES},
    }
