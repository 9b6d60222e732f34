"""The swarm of a scenario: Locust users, their load (a k6 executor), and the phases of a trial."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, TypeGuard

from pydantic import AfterValidator, Field, ModelWrapValidatorHandler, ValidationInfo, model_validator

from lab.common import units
from lab.scenario.load import BY_GROUP, OWN_USERS, Load, by_group, own_users
from lab.scenario.problem import wrong
from lab.scenario.strict import BytesPerS, Name, ScenarioModel, Seconds, Share, as_written, kebab, unknown
from lab.scenario.yaml_file import Keys, YamlMap

Wire = Literal["http1", "echo", "greet", "datagram"]
# Wires with one exchange per connection, or without connections: users hold none between requests.
ONE_EXCHANGE = ("greet", "datagram")
# The paths that every server answers (images/CONTRACT.md).
PAGE_PATHS = ("/", "/plaintext", "/json")
# A slow client transfers one byte per tick of its engine, every 10 ms.
SLOW_MAX_BYTES_PER_S = 100.0
MAX_GROUPS = 8
RESERVED = ("swarm", "servers", "server", "master")  # names of endpoints and nodes
RESERVED_TEXT = f"{', '.join(RESERVED)} and worker-… are reserved"
DEADLINES = ("connect_deadline", "request_timeout", "drain")


class Phases(ScenarioModel):
    """The phases of a trial: warm-up, measured window, and a cool-down in which the load just goes on."""

    warmup: Seconds = 3.0
    measure: Seconds = 10.0
    cooldown: Seconds = 1.0

    @property
    def load_s(self) -> float:
        """How long the load is on."""
        return self.warmup + self.measure + self.cooldown

    @model_validator(mode="after")
    def _check_measure(self) -> Phases:
        if self.measure < 1:
            raise wrong("must be at least 1s: figures are recorded per second", ("measure",))
        return self


class Clients(ScenarioModel):
    """How the users behave as clients. Users that are neither idle nor slow send the load.

    `idle` is the share of users that hold a connection and send nothing. `slow` is the share that
    write their request or read their answer at `slow-rate`; the figures do not include them. With `churn`
    every request opens a new connection.
    """

    idle: Share = 0.0
    slow: Share = 0.0
    slow_side: Literal["write", "read"] | None = None
    slow_rate: BytesPerS | None = None
    churn: bool = False

    @model_validator(mode="after")
    def _check_clients(self) -> Clients:
        if self.idle and self.churn:
            message = "idle and churn exclude each other: idle holds a connection, churn closes it"
            raise wrong(message, ("churn",), ("idle",))
        if "slow" not in self.model_fields_set:
            for key, value in (("slow-side", self.slow_side), ("slow-rate", self.slow_rate)):
                if value is not None:
                    raise wrong("slow-side and slow-rate need slow (such as slow: 5%)", (key,), at_key=True)
        if (together := round(self.idle + self.slow, 9)) > 1:
            message = (
                f"idle and slow are together {units.show_plain(together * 100)}%: at most 100% are possible"
            )
            raise wrong(message, ("slow",), ("idle",))
        if self.slow_rate is not None and not 0 < self.slow_rate <= SLOW_MAX_BYTES_PER_S:
            raise wrong(f"must be above 0B/s and at most {SLOW_MAX_BYTES_PER_S:g}B/s", ("slow-rate",))
        return self


class Page(ScenarioModel):
    """A request of several resources on one connection: one after the other, or pipelined (`at-once`)."""

    paths: tuple[str, ...] = Field(min_length=1, strict=False)
    at_once: bool = False

    @model_validator(mode="after")
    def _check_paths(self) -> Page:
        for index, path in enumerate(self.paths):
            if path not in PAGE_PATHS:
                raise wrong(unknown(path, list(PAGE_PATHS), "resource"), ("paths", index))
        return self


def _locustfile(text: str) -> str:
    path = PurePosixPath(text)
    if path.suffix != ".py" or path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{text!r} must be a Python file in the scenario's folder or below it")
    return str(path)


class Swarm(ScenarioModel):
    """The client side: Locust users on worker nodes. A user is one connection.

    With a `locustfile`, the users are those that it defines.
    """

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
        """The groups of the swarm; a swarm without groups is one group without a name."""
        named = tuple(SwarmGroup(name, swarm) for name, swarm in self.groups.items())
        return named or (SwarmGroup("", self),)

    @property
    def worker_nodes(self) -> tuple[str, ...]:
        """The names of all worker nodes, group by group."""
        return tuple(worker for group in self.all_groups for worker in group.workers)

    @property
    def ends(self) -> dict[str, tuple[str, ...]]:
        """The workers of each endpoint on the swarm's side: all, those of a group, or one."""
        groups = {group.name: group.workers for group in self.all_groups if group.name}
        each = {worker: (worker,) for worker in self.worker_nodes}
        return {"swarm": self.worker_nodes, **groups, **each}

    @property
    def max_users(self) -> int:
        """The maximum number of users, over all stages of the load."""
        if self.groups:
            return sum(group.max_users for group in self.groups.values())
        return self.load.max_users(self.users)

    @property
    def one_exchange(self) -> bool:
        """Whether a connection lasts for one exchange: then users hold none between requests."""
        return self.clients.churn or self.wire in ONE_EXCHANGE

    @model_validator(mode="wrap")
    @classmethod
    def _read_groups(cls, data: Any, handler: ModelWrapValidatorHandler[Swarm]) -> Swarm:
        """Read a swarm of groups: the totals over all groups, and each group by its name."""
        if not _has(data, "groups"):
            return handler(data)
        checked = handler({"users": 1, "workers": 1, "load": by_group(), **data})
        return checked.model_copy(update=_combined(checked.groups))

    @model_validator(mode="before")
    @classmethod
    def _set_own_load(cls, data: Any, info: ValidationInfo) -> Any:
        if not _has(data, "locustfile"):
            return data
        for name in ("load", "clients", "page", "engines"):
            if name in data and as_written(info):
                message = f"{name} cannot be set together with locustfile: the locustfile decides it"
                raise wrong(message, (name,), ("locustfile",), at_key=True)
        return {"load": own_users(), **data}

    @model_validator(mode="after")
    def _check_load_of_record(self) -> Swarm:
        """Check the loads that only records hold: each needs the swarm that it follows from."""
        own = self.load.executor == OWN_USERS
        if own != (self.locustfile is not None):
            raise ValueError(f"load: {OWN_USERS} is for a swarm with a locustfile, and for no other")
        if (self.load.executor == BY_GROUP) != bool(self.groups):
            raise ValueError(f"load: {BY_GROUP} is for a swarm of groups, and for no other")
        if own and (self.clients != Clients() or self.page is not None or self.engines != 1):
            raise ValueError("clients, page and engines cannot be set together with locustfile")
        return self

    @model_validator(mode="after")
    def _check_users(self) -> Swarm:
        if self.groups:  # each group was checked
            return self
        if self.users < self.workers:
            message = f"{self.workers} workers need at least {self.workers} users, not {self.users}"
            raise wrong(message, ("workers",), ("users",))
        engines = self.workers * self.engines
        if self.users < engines:
            message = f"{engines} engines need at least {engines} users, not {self.users}"
            raise wrong(message, ("engines",), ("workers",), ("users",))
        each = self.users // engines
        if each <= int(each * self.clients.idle) + int(each * self.clients.slow):
            raise wrong(
                f"all {each} users of an engine are idle or slow, so none sends the load",
                *(("clients", name) for name in ("idle", "slow") if getattr(self.clients, name)),
                *(("users",), ("workers",), ("engines",)),
            )
        return self

    @model_validator(mode="after")
    def _check_deadlines(self, info: ValidationInfo) -> Swarm:
        for name in ("connect_deadline", "request_timeout") if as_written(info) else ():
            if not getattr(self, name):
                raise wrong("must be more than 0s: no answer comes at once", (kebab(name),))
        return self

    @model_validator(mode="after")
    def _check_stages(self) -> Swarm:
        if self.load.stages_s > self.phases.measure:
            took, window = (units.show_seconds(s) for s in (self.load.stages_s, self.phases.measure))
            message = f"the stages take {took}, but the measured window is {window}"
            raise wrong(message, ("load", "stages"), ("phases", "measure"))
        return self

    @model_validator(mode="after")
    def _check_together(self) -> Swarm:
        """Refuse what excludes each other; the swarm's nodes refuse the same (images/CONTRACT.md)."""
        clients = self.clients
        if self.page is not None and (self.wire != "http1" or clients.churn or clients.slow):
            others = [("wire",)] if self.wire != "http1" else []
            message = "a page needs wire http1, without churn and without slow clients"
            raise wrong(message, ("page",), *others, *self._set_clients("churn", "slow"))
        if self.wire in ONE_EXCHANGE and (found := self._set_clients("idle", "slow", "churn")):
            message = f"wire {self.wire} has one exchange per connection: no idle, slow or churn"
            raise wrong(message, *found, ("wire",))
        if clients.idle and self.load.executor == "ramping-users":
            message = "idle clients and ramping-users exclude each other: which users stop is undefined"
            raise wrong(message, ("clients", "idle"), ("load", "executor"))
        return self

    def _set_clients(self, *names: str) -> list[Keys]:
        """Return the paths of these keys of `clients` that are in force."""
        return [("clients", name) for name in names if getattr(self.clients, name)]


@dataclass(frozen=True)
class SwarmGroup:
    """A group of the swarm, with its own Locust master and workers.

    A swarm without groups is one group with an empty name.
    """

    name: str
    swarm: Swarm

    @property
    def master(self) -> str:
        """The name of the master node: `master`, `browsers-master`."""
        return self.node("master")

    @property
    def workers(self) -> tuple[str, ...]:
        """The names of the worker nodes: `worker-0`, `browsers-worker-0` and so on."""
        return tuple(self.node(f"worker-{index}") for index in range(self.swarm.workers))

    def node(self, role: str) -> str:
        """Return the name of a node of the group."""
        return f"{self.name}-{role}" if self.name else role


def _has(data: Any, key: str) -> bool:
    return isinstance(data, dict) and key in data and data[key] not in (None, {})


def is_map_of_groups(value: object) -> TypeGuard[YamlMap]:
    """Tell whether a swarm, as written, is a map of groups: maps only, and none under a key of Swarm."""
    words = {word for name in Swarm.model_fields if name != "groups" for word in (name, kebab(name))}
    return isinstance(value, dict) and bool(value) and not words & set(value) and _all_maps(value)


def read_groups(value: Any) -> Any:
    """Read a swarm as written; a map of groups becomes `{groups: …}`."""
    return {"groups": value} if is_map_of_groups(value) else value


def is_reserved(name: str) -> bool:
    """Tell whether a name is that of an endpoint or a node, and so cannot name a server or a group."""
    return name in RESERVED or name.startswith("worker-")


def _all_maps(value: dict[object, object]) -> bool:
    return all(isinstance(one, dict) for one in value.values())


def _check_same(groups: Mapping[str, Swarm], what: str) -> None:
    """Refuse groups that differ in what they share: at the first that differs from the group before."""
    for (before, one), (name, other) in pairwise(groups.items()):
        if getattr(one, what) != getattr(other, what):
            message = f"{what} must be the same in all groups: they are measured together"
            raise wrong(message, *(("groups", group, what) for group in (name, before)))


def _combined(groups: Mapping[str, Swarm]) -> dict[str, object]:
    """Return the fields of all groups as one swarm. Raises ValueError for groups that exclude each other."""
    if len(groups) > MAX_GROUPS:
        message = f"at most {MAX_GROUPS} groups are possible, not {len(groups)}"
        raise wrong(message, ("groups", list(groups)[MAX_GROUPS]), at_key=True)
    for name, swarm in groups.items():
        if is_reserved(name):
            raise wrong(f"{name} cannot name a group: {RESERVED_TEXT}", ("groups", name), at_key=True)
        if swarm.groups:
            raise wrong("a group cannot have groups", ("groups", name))
    for what in ("wire", "phases"):
        _check_same(groups, what)
    each = list(groups.values())
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
