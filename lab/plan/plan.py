"""A plan: the trials of a run, in the order they will run."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lab.common.errors import UsageError
from lab.common.trial_key import TrialKey
from lab.scenario.resolve import Resolved, with_values
from lab.scenario.scenario import Scenario


@dataclass(frozen=True)
class Trial:
    """One server at one sweep point, once. `id` is `server[,path=value…]/repeat`."""

    id: str
    server: str
    repeat: int
    point: Mapping[str, Any]
    scenario: Scenario

    @property
    def folder(self) -> str:
        """The trial's folder below the run's: its id with no slash in it."""
        return TrialKey.parse(self.id).folder


# An invalid trial may be measured again: at most so many of a plan's, but at least one.
REPEATED_SHARE = 0.20


@dataclass(frozen=True)
class Plan:
    """All trials of a run."""

    scenario: Scenario
    trials: tuple[Trial, ...]

    @property
    def repeats_allowed(self) -> int:
        """How many invalid trials may be measured again."""
        return max(1, int(REPEATED_SHARE * len(self.trials)))

    def to_json(self) -> dict[str, Any]:
        """Plain data for plan.json: the order, and what differs between trials."""
        return {
            "scenario": self.scenario.name,
            "seed": self.scenario.seed,
            "trials": [
                {"id": t.id, "server": t.server, "repeat": t.repeat, "point": dict(t.point)}
                for t in self.trials
            ],
        }


def expand(resolved: Resolved, only: tuple[str, ...] = ()) -> Plan:
    """Expand to server × sweep point × repeat.

    A repeat is a block that holds every combination once, in an order shuffled by the seed. Such interleaved
    blocks keep a slow drift of the host out of the comparison (Abedi & Brecht 2017).
    Raises UsageError for a sweep path or value that the scenario does not allow, or an unknown server.
    """
    scenario = resolved.scenario
    for name in only:
        if name not in scenario.servers:
            raise UsageError(f"--server {name}: the scenario has {', '.join(scenario.servers)}")
    points = [
        dict(zip(scenario.sweep, values, strict=True))
        for values in itertools.product(*scenario.sweep.values())
    ]
    at_point = [(point, with_values(resolved, point) if point else scenario) for point in points]
    rng = random.Random(scenario.seed)
    trials: list[Trial] = []
    for repeat in range(1, scenario.repeat + 1):
        block = [
            Trial(TrialKey.of(server, point, repeat).id, server, repeat, point, there)
            for point, there in at_point
            for server in scenario.servers
            if not only or server in only
        ]
        rng.shuffle(block)
        trials += block
    return Plan(scenario, tuple(trials))
