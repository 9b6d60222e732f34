"""Think times of the closed executors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log
from random import Random

from swarm import fields
from swarm.errors import SettingsError
from swarm.fields import JsonObject

DISTRIBUTIONS = ("constant", "uniform", "exponential", "lognormal")
SETTINGS = ("think_time_s", "think_time")


@dataclass(frozen=True)
class ThinkTime:
    """How long a user waits between an answer and its next request.

    | distribution | `a_s` | `b_s` |
    |---|---|---|
    | `constant` | the time | |
    | `uniform` | shortest | longest |
    | `exponential` | mean | |
    | `lognormal` | median | standard deviation of the logarithm, a plain number |
    """

    distribution: str = "constant"
    a_s: float = 0.0
    b_s: float = 0.0

    def sampler(self, random: Random) -> Callable[[], float] | None:
        """Return a function that draws one think time in seconds; None if users do not think."""
        if self.distribution == "uniform":
            return lambda: random.uniform(self.a_s, self.b_s)
        if self.distribution == "exponential":
            return lambda: random.expovariate(1.0 / self.a_s)
        if self.distribution == "lognormal":
            return lambda: random.lognormvariate(log(self.a_s), self.b_s)
        return (lambda: self.a_s) if self.a_s else None


NO_THINK_TIME = ThinkTime()


def parse_think_time(raw: JsonObject) -> ThinkTime:
    """Check `think_time_s` or `think_time` of a load.

    Raises:
        SettingsError: A setting is wrong; the message names it.
    """
    if "think_time" not in raw:
        return ThinkTime(a_s=fields.non_negative(raw, "think_time_s", 0.0))
    given = fields.json_object(raw, "think_time")
    distribution = fields.one_of(given, "distribution", DISTRIBUTIONS)
    if distribution == "uniform":
        low_s, high_s = fields.non_negative(given, "min_s"), fields.non_negative(given, "max_s")
        if low_s > high_s:
            raise SettingsError(f"think_time: min_s {low_s:g} is above max_s {high_s:g}")
        return ThinkTime(distribution, low_s, high_s)
    if distribution == "exponential":
        return ThinkTime(distribution, fields.positive(given, "mean_s"))
    if distribution == "lognormal":
        return ThinkTime(distribution, fields.positive(given, "median_s"), fields.positive(given, "sigma"))
    return ThinkTime(distribution, fields.non_negative(given, "mean_s"))
