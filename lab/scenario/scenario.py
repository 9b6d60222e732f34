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
from lab.scenario import crosscheck, threshold
from lab.scenario.event import Event
from lab.scenario.handler import Handler
from lab.scenario.link import LinkSpec
from lab.scenario.problem import wrong
from lab.scenario.server import Server as Server
from lab.scenario.strict import Name, ScenarioModel, as_written, unknown
from lab.scenario.swarm import Swarm, read_groups
from lab.scenario.yaml_file import written


def _condition(value: Any) -> Any:
    """Check the form of `p(99)<100ms` or `{threshold: p(99)<100ms, abort_on_fail: true}`."""
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        raise wrong("write 'p(99)<100ms', or {threshold: 'p(99)<100ms', abort_on_fail: true}")
    for key in value:
        if key not in CONDITION_KEYS:
            raise wrong(unknown(str(key), list(CONDITION_KEYS), "key"), (key,), at_key=True)
    if not isinstance(value.get("threshold"), str):
        place = ("threshold",) if "threshold" in value else ()
        missing = "" if place else "'threshold' is missing: "
        raise wrong(f"{missing}write the condition as text: threshold: 'p(99)<100ms'", place)
    if not isinstance(value.get("abort_on_fail", False), bool):
        raise wrong("write true or false", ("abort_on_fail",))
    if "delay_abort_eval" in value:
        _check_delay(value)
    return value


def _check_delay(value: dict[str, Any]) -> None:
    """Check the delay of a threshold that ends the run. Raises ValueError."""
    try:
        units.seconds(value["delay_abort_eval"], likely="s")
    except ValueError as error:
        raise wrong(str(error), ("delay_abort_eval",)) from None
    if not value.get("abort_on_fail"):
        raise wrong("delay_abort_eval needs abort_on_fail: true", ("delay_abort_eval",), ("abort_on_fail",))


CONDITION_KEYS = ("threshold", "abort_on_fail", "delay_abort_eval")


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
            raise wrong(
                f"{written(value)} is there twice: give each value once (repeat measures it again)", (index,)
            )
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
    def _check_references(self, info: ValidationInfo) -> Scenario:
        crosscheck.check(self, as_written(info))
        return self
