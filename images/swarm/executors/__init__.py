"""How requests come about: one file per executor, with k6's names where k6 has them.

| executor | load |
|---|---|
| `constant-arrival-rate` | open: `rate_per_s` |
| `ramping-arrival-rate` | open: `start_rate_per_s`, then straight lines to the `target_per_s` of the stages |
| `constant-users` | closed: each user waits for the answer, then thinks |
| `ramping-users` | closed: as many users as the stages say; Locust starts and stops them |

In an open load requests arrive by the clock, `constant` or `poisson`. In a closed load users send again
when they have their answer. Stages begin with the measured window; the warm-up runs at the start values. A
stage of 0 s is a step, a short high stage a spike, a single long stage a soak.

Each file holds the settings of one executor, their checks, and its run. To add an executor, write its file
and add its class to `EXECUTORS`.
"""

from __future__ import annotations

from collections.abc import Mapping

from swarm import fields
from swarm.fields import JsonObject

from .base import Executor, Start, UserStep
from .constant_arrival_rate import ConstantArrivalRate
from .constant_users import ConstantUsers
from .ramping_arrival_rate import RampingArrivalRate
from .ramping_users import RampingUsers

__all__ = ["EXECUTORS", "Executor", "Start", "UserStep", "by_kind", "parse"]


def by_kind(*executors: type[Executor]) -> dict[str, type[Executor]]:
    """Return the executors by their `kind`.

    Raises:
        ValueError: Two executors have the same kind.
    """
    found: dict[str, type[Executor]] = {}
    for executor in executors:
        if executor.kind in found:
            raise ValueError(f"two executors {executor.kind!r}: {found[executor.kind]} and {executor}")
        found[executor.kind] = executor
    return found


EXECUTORS: Mapping[str, type[Executor]] = by_kind(
    ConstantArrivalRate, RampingArrivalRate, ConstantUsers, RampingUsers
)


def parse(raw: JsonObject) -> Executor:
    """Return the executor of a `load` setting.

    Raises:
        SettingsError: The executor is not known, or one of its settings is wrong.
    """
    return EXECUTORS[fields.one_of(raw, "executor", tuple(EXECUTORS))].parse(raw)
