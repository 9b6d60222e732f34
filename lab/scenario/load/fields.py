"""The keys of a load in a scenario, for all executors."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, WithJsonSchema

from lab.common import units
from lab.scenario.load.think_time import Pause
from lab.scenario.strict import Arrivals, ScenarioModel, Seconds, parse_unless_stored


def _target(value: Any, info: ValidationInfo) -> Any:
    """Read `900/s` as 900.0 requests/s, `900` as 900 users. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            raise ValueError(f"{value} users: must be 0 or more")
        return value
    return parse_unless_stored(units.arrivals_per_s)(value, info)


TARGET_SCHEMA = {
    "oneOf": [
        {"type": "string", "pattern": r"^\d+(\.\d+)?/(s|min)$", "examples": ["900/s"]},
        {"type": "integer", "minimum": 0},
    ]
}


class Stage(ScenarioModel):
    """A linear ramp to `target` within `duration`; 0s is a step.

    `target` is a rate such as `900/s` for an open load, a number of users for a closed load.
    """

    duration: Seconds
    target: Annotated[
        Annotated[float, Field(ge=0, allow_inf_nan=False)] | int,
        BeforeValidator(_target),
        WithJsonSchema(TARGET_SCHEMA),
    ]


class LoadFields(ScenarioModel):
    """The keys of a load. Each executor checks which of them it takes."""

    executor: str
    rate: Arrivals | None = None
    start_rate: Arrivals | None = None
    arrivals: Literal["constant", "poisson"] | None = None
    think_time: Pause = None
    stages: tuple[Stage, ...] = Field(default=(), strict=False)
