"""How requests come about: open and closed loads, constant or in stages. Words: k6's executors.

`Load` is what the YAML means. What a load amounts to is told of its dumped form (`model_dump`), because that
is what a record keeps: those functions take old records, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, WithJsonSchema, model_validator

from lab.common import units
from lab.scenario.strict import Arrivals, Part, Seconds, as_written, parse_unless_kept, unknown

# Users of one's own locustfile bring their load with them: this one is never written in a scenario.
OWN_USERS = "own-users"
# The load of a swarm of several groups, each of which has its own: not written either.
BY_GROUP = "by-group"
CLOSED = ("constant-users", "ramping-users", OWN_USERS)
RAMPING = ("ramping-arrival-rate", "ramping-users")
# Per executor: what it needs, and what it may have.
TAKES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "constant-arrival-rate": (("rate",), ("arrivals",)),
    "ramping-arrival-rate": (("start-rate", "stages"), ("arrivals",)),
    "constant-users": (("think-time",), ()),
    "ramping-users": (("think-time", "stages"), ()),
}


def _executor(text: str, info: ValidationInfo) -> str:
    if text not in TAKES and (as_written(info) or text not in (OWN_USERS, BY_GROUP)):
        raise ValueError(unknown(text, list(TAKES), "executor"))
    return text


Executor = Annotated[str, AfterValidator(_executor), WithJsonSchema({"enum": list(TAKES)})]
EXAMPLES = {"rate": "2000/s", "start-rate": "100/s", "think-time": "500ms, or 0s"}
STAGES = {
    "ramping-arrival-rate": "[{duration: 5s, target: 900/s}]",
    "ramping-users": "[{duration: 5s, target: 900}]",
}


class Lognormal(Part):
    """A median, and the standard deviation of the logarithm (a plain number)."""

    median: Seconds
    sigma: float = Field(gt=0, strict=False)


class ThinkTime(Part):
    """How long a user pauses, drawn anew each time: one of these distributions, in seconds."""

    uniform: tuple[Seconds, Seconds] | None = Field(default=None, strict=False)
    exponential: Seconds | None = None
    lognormal: Lognormal | None = None

    @model_validator(mode="after")
    def _is_one(self) -> ThinkTime:
        if sum(value is not None for value in (self.uniform, self.exponential, self.lognormal)) != 1:
            raise ValueError("one distribution is wanted: uniform, exponential or lognormal")
        if self.uniform is not None and self.uniform[0] > self.uniform[1]:
            raise ValueError("uniform: the shorter time comes first, such as [100ms, 900ms]")
        if self.exponential == 0 or (self.lognormal is not None and self.lognormal.median == 0):
            raise ValueError("must be above 0s; users that do not think at all have the think-time 0s")
        return self


def _pause(value: Any, info: ValidationInfo) -> Any:
    """`500ms`, or a distribution. Its own errors keep their place."""
    if value is None or isinstance(value, ThinkTime):
        return value
    if isinstance(value, dict):
        return ThinkTime.model_validate(value, context=info.context)
    return parse_unless_kept(units.seconds)(value, info)


Pause = Annotated[
    Annotated[float, Field(ge=0, allow_inf_nan=False)] | ThinkTime | None,
    BeforeValidator(_pause),
    WithJsonSchema(
        {
            "oneOf": [
                {"type": "string", "pattern": r"^\d+(\.\d+)?(us|ms|s|min|h)$", "examples": ["500ms"]},
                {
                    "type": "object",
                    "properties": {
                        "uniform": {
                            "type": "array",
                            "items": {"type": "string"},
                            "minItems": 2,
                            "maxItems": 2,
                        },
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
    ),
]


def _target(value: Any, info: ValidationInfo) -> Any:
    """`900/s` → 900.0 requests/s; `900` → 900 users. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            raise ValueError(f"{value} users cannot be: 0 or more")
        return value
    return parse_unless_kept(units.arrivals_per_s)(value, info)


TARGET_SCHEMA = {
    "oneOf": [
        {"type": "string", "pattern": r"^\d+(\.\d+)?/(s|min)$", "examples": ["900/s"]},
        {"type": "integer", "minimum": 0},
    ]
}


class Stage(Part):
    """A straight line to `target`: requests/s (a float, written `900/s`) or users (an int). 0s is a step."""

    duration: Seconds
    target: Annotated[
        Annotated[float, Field(ge=0, allow_inf_nan=False)] | int,
        BeforeValidator(_target),
        WithJsonSchema(TARGET_SCHEMA),
    ]


class Load(Part):
    """Open (arrivals come by the clock) or closed (users wait for answers). Stages begin with the window."""

    executor: Executor
    rate: Arrivals | None = None
    start_rate: Arrivals | None = None
    arrivals: Literal["constant", "poisson"] | None = None
    think_time: Pause = None
    stages: tuple[Stage, ...] = Field(default=(), strict=False)

    @model_validator(mode="after")
    def _belongs(self) -> Load:
        if self.executor in (OWN_USERS, BY_GROUP):  # not written: see own_users, by_group
            return self
        needs, may = TAKES[self.executor]
        given = [
            name
            for name in ("rate", "start-rate", "arrivals", "think-time", "stages")
            if getattr(self, name.replace("-", "_")) not in (None, ())
        ]
        for name in needs:
            if name not in given:
                example = STAGES[self.executor] if name == "stages" else EXAMPLES[name]
                raise ValueError(f"{self.executor} needs {name} (such as {example})")
        for name in given:
            if name not in (*needs, *may):
                raise ValueError(f"{self.executor} takes no {name}; it takes {', '.join((*needs, *may))}")
        self._targets_fit()
        return self

    def _targets_fit(self) -> None:
        users = self.executor == "ramping-users"
        for number, stage in enumerate(self.stages):
            if isinstance(stage.target, int) != users:
                right = "a number of users, such as 900" if users else "a rate, such as 900/s"
                raise ValueError(f"stages[{number}].target: {self.executor} has {right}")
        if self.executor not in CLOSED and not any(_rates(self.model_dump())):
            raise ValueError("a rate of 0/s asks for nothing")

    @property
    def stages_s(self) -> float:
        """How long all stages take."""
        return sum(stage.duration for stage in self.stages)

    @property
    def most_per_s(self) -> float | None:
        """The highest rate of an open load; None of a closed one, whose rate nobody knows."""
        return None if self.executor in (*CLOSED, BY_GROUP) else max(_rates(self.model_dump()))


def own_users() -> Load:
    """The load of a locustfile's users: closed, and known to that file alone."""
    return Load.model_construct(executor=OWN_USERS)


def by_group() -> Load:
    """The load of several groups together."""
    return Load.model_construct(executor=BY_GROUP)


def is_closed(load: Mapping[str, Any]) -> bool:
    """Whether users wait for an answer before they send again."""
    return load.get("executor") in CLOSED


def is_ramping(load: Mapping[str, Any]) -> bool:
    """Whether the load changes within the window, as asked."""
    return load.get("executor") in RAMPING


def most_users(load: Mapping[str, Any], users: int) -> int:
    """The most users there ever are: the ramp's, or those of the highest stage."""
    targets = [int(s["target"]) for s in _stages(load)] if load.get("executor") == "ramping-users" else []
    return max(users, *targets, 0)


def arrivals_due(load: Mapping[str, Any], window_s: float) -> float:
    """How many arrivals an open load asks for within the window: the area below its rate."""
    due, left_s = 0.0, window_s
    rates = list(_rates(load))
    for stage, (before, after) in zip(load.get("stages") or (), pairwise(rates), strict=True):
        due += stage["duration"] * (before + after) / 2
        left_s -= stage["duration"]
    return due + rates[-1] * left_s


def words(load: Mapping[str, Any]) -> str:
    """`open: 2,000 arrivals/s`, `closed: think time 500ms`, `open: 100 → 900 arrivals/s in 5s, Poisson`."""
    unwritten = {OWN_USERS: "closed: own Locust users", BY_GROUP: "each group its own load"}
    if load.get("executor") in unwritten:
        return unwritten[str(load["executor"])]
    if is_closed(load):
        users = "".join(
            f", → {s['target']:,} users in {units.show_seconds(s['duration'])}" for s in _stages(load)
        )
        return f"closed: think time {_pause_words(load.get('think_time'))}{users}"
    rates = [f"{rate:,g}" for rate in _rates(load)]
    steps = "".join(
        f" → {r} in {units.show_seconds(s['duration'])}"
        for r, s in zip(rates[1:], _stages(load), strict=True)
    )
    return f"open: {rates[0]}{steps} arrivals/s" + (", Poisson" if load.get("arrivals") == "poisson" else "")


def _stages(load: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(load.get("stages") or ())


def _rates(load: Mapping[str, Any]) -> Iterator[float]:
    """The rate at the window's start, and at the end of each stage."""
    yield float(load.get("start_rate") or load.get("rate") or 0.0)
    yield from (float(stage["target"]) for stage in _stages(load))


def _pause_words(pause: Any) -> str:
    if not isinstance(pause, Mapping):
        return units.show_seconds(pause or 0.0)
    kind, value = next((kind, value) for kind, value in pause.items() if value is not None)
    if kind == "uniform":
        return f"{units.show_seconds(value[0])} … {units.show_seconds(value[1])}"
    if kind == "lognormal":
        return f"{units.show_seconds(value['median'])} in the median, lognormal (sigma {value['sigma']:g})"
    return f"{units.show_seconds(value)} on average, exponential"
