"""The load of a swarm: open or closed, constant or in stages. The executors are those of k6.

`Load` is the meaning of the YAML and what a record stores. Each executor has one file here; a new one also
needs its import below.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from pydantic import AfterValidator, ValidationInfo, WithJsonSchema, model_validator

from lab.scenario.load.by_group import ByGroup
from lab.scenario.load.constant_arrival_rate import ConstantArrivalRate
from lab.scenario.load.constant_users import ConstantUsers
from lab.scenario.load.executor import EXECUTORS, Executor, find
from lab.scenario.load.fields import LoadFields, Stage
from lab.scenario.load.own_users import OwnUsers
from lab.scenario.load.ramping_arrival_rate import RampingArrivalRate
from lab.scenario.load.ramping_users import RampingUsers
from lab.scenario.load.settings import LoadSettings
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
    "own_users",
]

OWN_USERS = OwnUsers.name
BY_GROUP = ByGroup.name


def _known(name: str, info: ValidationInfo) -> str:
    return find(name, as_written(info)).name


_WRITTEN = [name for name, executor in EXECUTORS.items() if executor.written]


class Load(LoadFields):
    """The load: open (arrivals follow the clock) or closed (users wait for answers).

    Stages begin with the measured window.
    """

    executor: Annotated[str, AfterValidator(_known), WithJsonSchema({"enum": _WRITTEN})]

    @model_validator(mode="after")
    def _belongs(self) -> Load:
        self.kind.check(self)
        return self

    @property
    def kind(self) -> Executor:
        """The executor."""
        return EXECUTORS[self.executor]

    @property
    def is_closed(self) -> bool:
        """Whether users wait for an answer before they send again."""
        return self.kind.closed

    @property
    def is_ramping(self) -> bool:
        """Whether the load has stages that change it within the window."""
        return self.kind.ramping

    @property
    def stages_s(self) -> float:
        """The total duration of the stages."""
        return sum(stage.duration for stage in self.stages)

    @property
    def max_rate_per_s(self) -> float | None:
        """The maximum rate of an open load; None for a closed load, whose rate depends on the server."""
        return max(self.kind.rates(self), default=None)

    def max_users(self, users: int) -> int:
        """Return the maximum number of users, of a swarm that starts with `users`."""
        return self.kind.max_users(self, users)

    def arrivals_due(self, window_s: float) -> float:
        """Return the arrivals that an open load schedules within the window: the integral of its rate.

        Raises ValueError for a load without a rate.
        """
        rates = self.kind.rates(self)
        if not rates:
            raise ValueError(f"{self.executor} has no rate")
        due, left_s = 0.0, window_s
        for stage, (before, after) in zip(self.stages, pairwise(rates), strict=True):
            due += stage.duration * (before + after) / 2
            left_s -= stage.duration
        return due + rates[-1] * left_s

    def describe(self) -> str:
        """Describe the load: `open: 2,000 arrivals/s`, `closed: think time 500ms`."""
        return self.kind.describe(self)

    def settings(self) -> LoadSettings:
        """Return `load` of LAB_SWARM (images/CONTRACT.md)."""
        return self.kind.settings(self)


def own_users() -> Load:
    """Return the load of a swarm with a locustfile."""
    return Load(executor=OWN_USERS)


def by_group() -> Load:
    """Return the load of a swarm of groups."""
    return Load(executor=BY_GROUP)
