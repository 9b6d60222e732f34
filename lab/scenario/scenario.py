"""A scenario: one question to the lab, as a frozen value.

Its terms are those of containerlab, netem, Locust and k6.

`Scenario` is the meaning of the YAML; scenario.resolve knows where each value came from.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, WithJsonSchema, model_validator

from lab.common import units
from lab.common.trial_key import TrialKey
from lab.scenario import catalog, threshold
from lab.scenario.event import Event, link_changes
from lab.scenario.link import Direction, LinkSpec
from lab.scenario.strict import Bytes, Name, ScenarioModel, as_written, unknown
from lab.scenario.swarm import RESERVED_TEXT, Swarm, is_reserved, read_groups

HANDLERS = {"hello": None, "json": None, "echo": None, "sleep": "10ms", "cpu": "200us", "file": "64KiB"}


def _model(text: str) -> str:
    known = catalog.models()
    if text not in known:
        raise ValueError(unknown(text, list(known), "model"))
    return text


def _handler(value: Any) -> str:
    """Read `hello` or `{sleep: 10ms}` as the text that the server takes: `hello`, `sleep:10ms`.

    Raises ValueError.
    """
    kind, argument = value, None
    if isinstance(value, dict) and len(value) == 1:
        kind, argument = next(iter(value.items()))
    elif isinstance(value, str) and ":" in value:
        kind, argument = value.split(":", 1)
    if not isinstance(kind, str) or kind not in HANDLERS:
        raise ValueError(unknown(str(kind), list(HANDLERS), "handler"))
    example = HANDLERS[kind]
    if example is None:
        if argument is not None:
            raise ValueError(f"{kind} takes no argument")
        return kind
    if argument is None:
        raise ValueError(f"{kind} needs an argument: {{{kind}: {example}}}")
    (units.size_bytes if kind == "file" else units.seconds)(argument)
    return f"{kind}:{argument}"


Handler = Annotated[
    str,
    BeforeValidator(_handler),
    WithJsonSchema(
        {
            "oneOf": [
                {"enum": [name for name, argument in HANDLERS.items() if argument is None]},
                {
                    "type": "object",
                    "properties": {name: {"type": "string"} for name, arg in HANDLERS.items() if arg},
                    "minProperties": 1,
                    "maxProperties": 1,
                    "additionalProperties": False,
                },
            ]
        }
    ),
]


class Server(ScenarioModel):
    """One server container: a `model` of the catalog, or an `image` of your own.

    With both, `image` is another build of the lab's server image (`lab compare --ab`).
    """

    model: Annotated[str, AfterValidator(_model)] | None = None
    image: str | None = None
    port: int = Field(default=9102, ge=1, le=65535)
    workers: int = Field(default=1, ge=1, le=64)
    backlog: int = Field(default=4096, ge=1, le=65535)
    cpus: float | None = Field(default=None, gt=0)
    memory: Bytes | None = None
    nofile: int | None = Field(default=None, ge=64)
    pids: int | None = Field(default=None, ge=8)

    @model_validator(mode="after")
    def _check_source(self) -> Server:
        if self.model is None and self.image is None:
            raise ValueError("a server needs a model of the catalog, or an image")
        if self.model and self.workers > 1 and not catalog.models()[self.model].workers:
            raise ValueError(f"{self.model} runs as one process: workers must be 1")
        return self


def _condition(value: Any) -> Any:
    """Check the form of `p(99)<100ms` or `{threshold: p(99)<100ms, abort_on_fail: true}`."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and value.keys() <= {"threshold", "abort_on_fail", "delay_abort_eval"}:
        options = {"threshold": None, "abort_on_fail": False, "delay_abort_eval": "0s", **value}
        if isinstance(options["threshold"], str) and isinstance(options["abort_on_fail"], bool):
            units.seconds(options["delay_abort_eval"])
            return value
    raise ValueError("write 'p(99)<100ms', or {threshold: 'p(99)<100ms', abort_on_fail: true}")


CONDITION_SCHEMA = {
    "oneOf": [
        {"type": "string", "examples": ["p(99)<100ms"]},
        {
            "type": "object",
            "properties": {
                "threshold": {"type": "string"},
                "abort_on_fail": {"type": "boolean"},
                "delay_abort_eval": {"type": "string", "examples": ["5s"]},
            },
            "required": ["threshold"],
            "additionalProperties": False,
        },
    ]
}
Condition = Annotated[threshold.Condition, BeforeValidator(_condition), WithJsonSchema(CONDITION_SCHEMA)]


def _swept(values: list[Any], info: ValidationInfo) -> list[Any]:
    """Refuse a sweep that a person wrote without values, or with two values of one name."""
    if not as_written(info):
        return values
    if not values:
        raise ValueError("give at least one value, such as [10, 100]")
    names = [TrialKey.of("", {"": value}, 1).point for value in values]
    for index, value in enumerate(values):
        if names[index] in names[:index] or value in values[:index]:
            raise ValueError(f"{value} is there twice: give each value once (repeat measures it again)")
    return values


SWEEP_EXTRA: dict[str, Any] = {"minItems": 1, "uniqueItems": True}
Swept = Annotated[list[Any], AfterValidator(_swept), Field(json_schema_extra=SWEEP_EXTRA)]


class Expect(ScenarioModel):
    """Known limits of a server: reaching one is reported as a finding and is not a failure."""

    max_open: int | None = Field(default=None, alias="max_open", ge=1)
    served_at_once: int | None = Field(default=None, alias="served_at_once", ge=1)


class Scenario(ScenarioModel):
    """One question to the lab: servers, a swarm, the links between them, events, thresholds."""

    name: Name
    servers: dict[Name, Server] = Field(min_length=1)
    handler: Handler = "hello"
    swarm: Annotated[Swarm, BeforeValidator(read_groups)]
    links: tuple[LinkSpec, ...] = Field(default=(), strict=False)
    events: tuple[Event, ...] = Field(default=(), strict=False)
    sweep: dict[str, Swept] = Field(default_factory=dict)
    repeat: int = Field(default=1, ge=1, le=1000)
    seed: int = Field(default=1, ge=0)
    thresholds: dict[str, dict[str, list[Condition]]] = Field(default_factory=dict)
    expect: dict[str, Expect] = Field(default_factory=dict)
    question: str = ""

    def files(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """Yield the files that the scenario names: the key path, and the path in the scenario's folder."""
        for group in self.swarm.all_groups:
            if group.swarm.locustfile:
                place = ("swarm", group.name, "locustfile") if group.name else ("swarm", "locustfile")
                yield place, group.swarm.locustfile

    @model_validator(mode="after")
    def _check_names(self, info: ValidationInfo) -> Scenario:
        for name in self.servers:
            if is_reserved(name) and as_written(info):
                raise ValueError(f"servers.{name}: {name} cannot name a server: {RESERVED_TEXT}")
        for name in self.swarm.groups:
            if name in self.servers:
                raise ValueError(f"swarm.{name}: a server has the same name, so links cannot tell them apart")
        return self

    @model_validator(mode="after")
    def _check_links(self) -> Scenario:
        swarm_ends = ["swarm", *self.swarm.groups, *self.swarm.worker_nodes]
        known = [*swarm_ends, "servers", *self.servers]
        for index, link in enumerate(self.links):
            for end in link.endpoints:
                if end not in known:
                    raise ValueError(f"links[{index}].endpoints: " + unknown(end, known, "endpoint"))
            joined = [end for end in link.endpoints if end in swarm_ends]
            if len(joined) != 1:
                raise ValueError(f"links[{index}].endpoints: a link joins a node of the swarm and a server")
        return self

    @model_validator(mode="after")
    def _check_events(self, info: ValidationInfo) -> Scenario:
        nodes = [*self.servers, *self.swarm.worker_nodes]
        joined = [link.endpoints for link in self.links]
        for index, event in enumerate(self.events):
            where = f"events[{index}]: "
            if event.node is not None and event.node not in nodes:
                raise ValueError(where + unknown(event.node, nodes, "node"))
            lab_servers = [name for name, server in self.servers.items() if server.model]
            if event.restart is not None and event.restart not in lab_servers:
                can = ", ".join(lab_servers) or "there is none"
                raise ValueError(f"{where}only a server with a model can be restarted: {can}")
            if event.endpoints is not None and event.endpoints not in joined:
                known = ", ".join(f"[{one}, {other}]" for one, other in joined) or "none"
                raise ValueError(f"{where}unknown link [{', '.join(event.endpoints)}]; known: {known}")
            if as_written(info):  # a record may hold what earlier versions let pass
                self._check_link_changes(event, where)
            if event.ends_s > self.swarm.phases.measure:
                raise ValueError(
                    f"{where}the event ends after the measured window ({self.swarm.phases.measure:g}s)"
                )
        return self

    def _check_link_changes(self, event: Event, where: str) -> None:
        """Refuse an event that makes an impossible link. Raises ValueError."""
        link = next((link for link in self.links if link.endpoints == event.endpoints), None)
        if link is None:
            return
        self._check_ramp_start(event, link, where)
        try:
            for _, changed in link_changes(link, event):
                changed.impairments()
        except ValueError as error:
            raise ValueError(f"{where}{error}") from None

    def _check_ramp_start(self, event: Event, link: LinkSpec, where: str) -> None:
        """Refuse a ramp of a field that only the link's profile sets: it would start at 0."""
        if event.ramp is None or link.profile is None:
            return
        for name in Direction.model_fields:
            if getattr(event.ramp.to, name) is not None and getattr(link, name) is None:
                raise ValueError(
                    f"{where}the ramp of {name} has no start: the link takes it from profile {link.profile}; "
                    f"write {name} at the link"
                )

    def _conditions(self) -> Iterator[tuple[str, str, threshold.Condition]]:
        for name, of_server in self.thresholds.items():
            for metric, conditions in of_server.items():
                yield from ((name, metric, condition) for condition in conditions)

    @model_validator(mode="after")
    def _check_references(self) -> Scenario:
        for part in ("expect", "thresholds"):
            for name in getattr(self, part):
                if name not in self.servers:
                    raise ValueError(f"{part}: " + unknown(name, list(self.servers), "server"))
        for name, metric, condition in self._conditions():
            try:
                threshold.read(metric, condition)
            except ValueError as error:
                raise ValueError(f"thresholds.{name}.{metric}: {error}") from None
        for name, server in self.servers.items():
            if server.model is None:
                continue
            transports = catalog.models()[server.model].transports
            wanted = "udp" if self.swarm.wire == "datagram" else "tcp"
            if wanted not in transports:
                raise ValueError(
                    f"server {name}: {server.model} supports {'/'.join(transports)}, "
                    f"but wire {self.swarm.wire} needs {wanted}"
                )
        return self
