"""The think time: the pause of a closed load's user between an answer and the next request."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationInfo, WithJsonSchema, model_validator

from lab.common import units
from lab.scenario.load.settings import ThinkTimeSettings
from lab.scenario.problem import wrong
from lab.scenario.strict import ScenarioModel, ShortSeconds, parse_unless_stored


class Lognormal(ScenarioModel):
    """A lognormal distribution: its median, and `sigma`, the standard deviation of the logarithm."""

    median: ShortSeconds
    sigma: float = Field(gt=0, strict=False)


class ThinkTime(ScenarioModel):
    """A distribution of think times, in seconds; each pause is a new sample."""

    uniform: tuple[ShortSeconds, ShortSeconds] | None = Field(default=None, strict=False)
    exponential: ShortSeconds | None = None
    lognormal: Lognormal | None = None

    @model_validator(mode="after")
    def _is_one(self) -> ThinkTime:
        given = [name for name in ("uniform", "exponential", "lognormal") if getattr(self, name) is not None]
        if len(given) != 1:
            message = "write exactly one of uniform, exponential and lognormal"
            raise wrong(message, *((name,) for name in given[1:]), at_key=bool(given))
        if self.uniform is not None and self.uniform[0] > self.uniform[1]:
            raise wrong("write the shorter time first, such as [100ms, 900ms]", ("uniform",))
        is_zero = "must be above 0s; for no pause write think-time: 0s"
        if self.exponential == 0:
            raise wrong(is_zero, ("exponential",))
        if self.lognormal is not None and self.lognormal.median == 0:
            raise wrong(is_zero, ("lognormal", "median"))
        return self

    def describe(self) -> str:
        """Describe the distribution: `100ms … 900ms`, `500ms on average, exponential`."""
        if self.uniform is not None:
            low, high = map(units.show_seconds, self.uniform)
            return f"{low} … {high}"
        if self.lognormal is not None:
            median = units.show_seconds(self.lognormal.median)
            return f"{median} in the median, lognormal (sigma {self.lognormal.sigma:g})"
        return f"{units.show_seconds(self.exponential or 0.0)} on average, exponential"

    def settings(self) -> ThinkTimeSettings:
        """Return `think_time` of the load in LAB_SWARM (images/CONTRACT.md)."""
        if self.uniform is not None:
            return {"distribution": "uniform", "min_s": self.uniform[0], "max_s": self.uniform[1]}
        if self.lognormal is not None:
            median_s, sigma = self.lognormal.median, self.lognormal.sigma
            return {"distribution": "lognormal", "median_s": median_s, "sigma": sigma}
        return {"distribution": "exponential", "mean_s": self.exponential}


def _pause(value: Any, info: ValidationInfo) -> Any:
    """Read `500ms`, or a distribution, whose errors keep their path."""
    if value is None or isinstance(value, ThinkTime):
        return value
    if isinstance(value, dict):
        return ThinkTime.model_validate(value, context=info.context)
    return parse_unless_stored(units.seconds)(value, info)


PAUSE_SCHEMA = {
    "oneOf": [
        {"type": "string", "pattern": r"^\d+(\.\d+)?(us|ms|s|min|h)$", "examples": ["500ms"]},
        {
            "type": "object",
            "properties": {
                "uniform": {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2},
                "exponential": {"type": "string"},
                "lognormal": {
                    "type": "object",
                    "properties": {"median": {"type": "string"}, "sigma": {"type": "number"}},
                    "required": ["median", "sigma"],
                    "additionalProperties": False,
                },
            },
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": False,
        },
    ]
}
Pause = Annotated[
    Annotated[float, Field(ge=0, allow_inf_nan=False)] | ThinkTime | None,
    BeforeValidator(_pause),
    WithJsonSchema(PAUSE_SCHEMA),
]
