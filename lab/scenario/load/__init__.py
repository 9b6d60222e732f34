"""How requests come about: open and closed loads, constant or in stages. Words: k6's executors.

`Load` is what the YAML means and what a record keeps. One file per executor says what it takes and what it
asks for; a new one is a file here and its import below.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any

from pydantic import AfterValidator, ValidationInfo, WithJsonSchema, model_validator

from lab.scenario.load.by_group import ByGroup
from lab.scenario.load.constant_arrival_rate import ConstantArrivalRate
from lab.scenario.load.constant_users import ConstantUsers
from lab.scenario.load.executor import EXECUTORS, Executor, find
from lab.scenario.load.fields import LoadFields, Stage
from lab.scenario.load.own_users import OwnUsers
from lab.scenario.load.ramping_arrival_rate import RampingArrivalRate
from lab.scenario.load.ramping_users import RampingUsers
from lab.scenario.load.think_time import Lognormal, ThinkTime
from lab.scenario.strict import as_written

__all__ = [
    "BY_GROUP",
    "OWN_USERS",
    "ConstantArrivalRate",
    "ConstantUsers",
    "Load",
    "Lognormal",
    "RampingArrivalRate",
    "RampingUsers",
    "Stage",
    "ThinkTime",
    "by_group",
    "load_of",
    "own_users",
]

OWN_USERS = OwnUsers.name
BY_GROUP = ByGroup.name


def _known(name: str, info: ValidationInfo) -> str:
    return find(name, as_written(info)).name


_WRITTEN = [name for name, executor in EXECUTORS.items() if executor.written]


class Load(LoadFields):
    """Open (arrivals come by the clock) or closed (users wait for answers). Stages begin with the window."""

    executor: Annotated[str, AfterValidator(_known), WithJsonSchema({"enum": _WRITTEN})]

    @model_validator(mode="after")
    def _belongs(self) -> Load:
        self.kind.check(self)
        return self

    @property
    def kind(self) -> Executor:
        """What its executor means."""
        return EXECUTORS[self.executor]

    @property
    def is_closed(self) -> bool:
        """Whether users wait for an answer before they send again."""
        return self.kind.closed

    @property
    def is_ramping(self) -> bool:
        """Whether the load changes within the window, as asked."""
        return self.kind.ramping

    @property
    def stages_s(self) -> float:
        """How long all stages take."""
        return sum(stage.duration for stage in self.stages)

    @property
    def max_rate_per_s(self) -> float | None:
        """The highest rate of an open load; None of a closed one, whose rate nobody knows."""
        return max(self.kind.rates(self), default=None)

    def max_users(self, users: int) -> int:
        """The most users there ever are: the ramp's, or those of the highest stage."""
        return self.kind.max_users(self, users)

    def arrivals_due(self, window_s: float) -> float:
        """How many arrivals an open load asks for within the window: the area below its rate.

        Raises ValueError for a load that asks for no rate.
        """
        rates = self.kind.rates(self)
        if not rates:
            raise ValueError(f"{self.executor} asks for no rate")
        due, left_s = 0.0, window_s
        for stage, (before, after) in zip(self.stages, pairwise(rates), strict=True):
            due += stage.duration * (before + after) / 2
            left_s -= stage.duration
        return due + rates[-1] * left_s

    def describe(self) -> str:
        """`open: 2,000 arrivals/s`, `closed: think time 500ms`, `open: 100 → 900 in 5s arrivals/s`."""
        return self.kind.describe(self)

    def settings(self) -> dict[str, Any]:
        """LAB_SWARM's `load` (images/CONTRACT.md)."""
        return self.kind.settings(self)


def own_users() -> Load:
    """The load of a locustfile's users: closed, and known to that file alone."""
    return Load(executor=OWN_USERS)


def by_group() -> Load:
    """The load of several groups together."""
    return Load(executor=BY_GROUP)


def load_of(kept: Mapping[str, Any]) -> Load:
    """The load out of a record's dump of its scenario. Raises pydantic.ValidationError for what is none."""
    return Load.model_validate(kept)
