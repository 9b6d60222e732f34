"""The load of a scenario as data: how requests come about, and what kinds of clients there are.

Executors, by k6's names where it has them:

| executor | | |---|---| | `constant-arrival-rate` | open: `rate_per_s` | | `ramping-arrival-rate` | open:
`start_rate_per_s`, then straight lines to the `target_per_s` of each stage | | `constant-users` | closed:
each user waits for its answer, then thinks | | `ramping-users` | closed: as many users as the stages say,
through Locust's own ramp |

Open loads take `arrivals`: `constant` (default) or `poisson`. Stages begin with the measured window; the
warm-up has the start's rate. A stage of 0 s is a step, a short high one a spike, a single long one a soak.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log
from random import Random
from typing import Any

from . import fields
from .errors import SettingsError
from .fields import Raw

OPEN = ("constant-arrival-rate", "ramping-arrival-rate")
CLOSED = ("constant-users", "ramping-users")
ARRIVALS = ("constant", "poisson")
SLOW_MOST_BYTES_PER_S = 100.0  # one byte each time the engine looks after them, every 10 ms
DISTRIBUTIONS = ("constant", "uniform", "exponential", "lognormal")


@dataclass(frozen=True)
class Stage:
    """A straight line to `target` (requests a second, or users) that takes `duration_s`."""

    duration_s: float
    target: float


@dataclass(frozen=True)
class ThinkTime:
    """How long a user waits between an answer and its next request, in seconds.

    `a_s` and `b_s` are: constant: the time, none; uniform: from, to; exponential: mean, none; lognormal:
    median and the logarithm's standard deviation (a plain number).
    """

    distribution: str = "constant"
    a_s: float = 0.0
    b_s: float = 0.0

    def drawer(self, random: Random) -> Callable[[], float] | None:
        """Return a function that draws one think time, None where users do not think at all."""
        if self.distribution == "uniform":
            return lambda: random.uniform(self.a_s, self.b_s)
        if self.distribution == "exponential":
            return lambda: random.expovariate(1.0 / self.a_s)
        if self.distribution == "lognormal":
            return lambda: random.lognormvariate(log(self.a_s), self.b_s)
        return (lambda: self.a_s) if self.a_s else None


@dataclass(frozen=True)
class Load:
    """How requests come about."""

    executor: str
    rate_per_s: float = 0.0  # open: at the start
    arrivals: str = "constant"
    think_time: ThinkTime = ThinkTime()
    stages: tuple[Stage, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether arrivals come whether or not the server has answered the ones before."""
        return self.executor in OPEN


@dataclass(frozen=True)
class Clients:
    """What kinds of clients the users are; those that are neither idle nor slow carry the load."""

    idle_share: float = 0.0  # hold a connection and never use it
    slow_share: float = 0.0  # write or read a few bytes a second
    slow_side: str = "write"
    slow_bytes_per_s: float = 10.0
    churn: bool = False  # a new connection for every request


def parse_load(raw: Raw) -> Load:
    """Check the `load` setting. Raises `SettingsError`."""
    executor = fields.one_of(raw, "executor", OPEN + CLOSED)
    if executor in CLOSED:
        fields.only(raw, "load", ("executor", "think_time_s", "think_time", "stages"))
        return Load(executor, think_time=_think_time(raw), stages=_stages(raw, "target_users", executor))
    fields.only(raw, "load", ("executor", "rate_per_s", "start_rate_per_s", "arrivals", "stages"))
    arrivals = fields.one_of(raw, "arrivals", ARRIVALS, "constant")
    stages = _stages(raw, "target_per_s", executor)
    rate_per_s = fields.amount(raw, "start_rate_per_s", 0.0) if stages else fields.positive(raw, "rate_per_s")
    return Load(executor, rate_per_s, arrivals, stages=stages)


def _stages(raw: Raw, target: str, executor: str) -> tuple[Stage, ...]:
    stages = tuple(_stage(stage, target) for stage in fields.items(raw, "stages"))
    if executor.startswith("ramping") != bool(stages):
        raise SettingsError(
            f"stages: ramping executors need them, constant ones take none; this is {executor}"
        )
    return stages


def _stage(raw: Any, target: str) -> Stage:
    if not isinstance(raw, dict):
        raise SettingsError(f"stages: each must be an object, not {raw!r}")
    fields.only(raw, "stages", ("duration_s", target))
    return Stage(fields.amount(raw, "duration_s"), fields.amount(raw, target))


def _think_time(raw: Raw) -> ThinkTime:
    if "think_time" not in raw:
        return ThinkTime(a_s=fields.amount(raw, "think_time_s", 0.0))
    given = fields.mapping(raw, "think_time")
    distribution = fields.one_of(given, "distribution", DISTRIBUTIONS)
    if distribution == "uniform":
        low_s, high_s = fields.amount(given, "min_s"), fields.amount(given, "max_s")
        if low_s > high_s:
            raise SettingsError(f"think_time: min_s {low_s:g} is above max_s {high_s:g}")
        return ThinkTime(distribution, low_s, high_s)
    if distribution == "exponential":
        return ThinkTime(distribution, fields.positive(given, "mean_s"))
    if distribution == "lognormal":
        return ThinkTime(distribution, fields.positive(given, "median_s"), fields.positive(given, "sigma"))
    return ThinkTime(distribution, fields.amount(given, "mean_s"))


def parse_clients(raw: Raw) -> Clients:
    """Check the `clients` setting. Raises `SettingsError`."""
    fields.only(raw, "clients", ("idle_share", "slow_share", "slow_side", "slow_bytes_per_s", "churn"))
    clients = Clients(
        idle_share=fields.share(raw, "idle_share"),
        slow_share=fields.share(raw, "slow_share"),
        slow_side=fields.one_of(raw, "slow_side", ("write", "read"), "write"),
        slow_bytes_per_s=fields.positive(raw, "slow_bytes_per_s", 10.0),
        churn=fields.flag(raw, "churn"),
    )
    if clients.idle_share + clients.slow_share > 1:
        raise SettingsError("clients: idle_share and slow_share together are more than 1")
    if clients.slow_bytes_per_s > SLOW_MOST_BYTES_PER_S:
        raise SettingsError(f"clients.slow_bytes_per_s: at most {SLOW_MOST_BYTES_PER_S:g}, a byte at a time")
    if clients.idle_share and clients.churn:
        raise SettingsError("clients: a client cannot both hold its connection and churn")
    return clients
