"""A plan: the trials of a run, in the order in which they run."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from lab.common.errors import UsageError
from lab.common.trial_key import TrialKey
from lab.scenario.resolve import Resolved, sweep_points, with_values
from lab.scenario.scenario import Scenario
from lab.scenario.yaml_file import YamlValue


@dataclass(frozen=True)
class Trial:
    """One measurement of one server at one sweep point. `id` is `server[,path=value…]/repeat`."""

    id: str
    server: str
    repeat: int
    point: Mapping[str, YamlValue]
    scenario: Scenario

    @property
    def folder(self) -> str:
        """The folder of the trial in the folder of the run."""
        return TrialKey.parse(self.id).folder


# The share of a plan's trials that may be repeated because they are invalid; at least one trial.
REPEATED_SHARE = 0.20


@dataclass(frozen=True)
class Plan:
    """All trials of a run."""

    scenario: Scenario
    trials: tuple[Trial, ...]

    @property
    def repeats_allowed(self) -> int:
        """The maximum number of invalid trials that are repeated."""
        return max(1, int(REPEATED_SHARE * len(self.trials)))

    def to_json(self) -> dict[str, object]:
        """Return the data for plan.json: the order, and what differs between trials."""
        return {
            "scenario": self.scenario.name,
            "seed": self.scenario.seed,
            "trials": [
                {"id": t.id, "server": t.server, "repeat": t.repeat, "point": dict(t.point)}
                for t in self.trials
            ],
        }


def expand(resolved: Resolved, only: tuple[str, ...] = ()) -> Plan:
    """Expand a scenario to server × sweep point × repeat.

    Each repeat is a block with every combination once, shuffled by the seed. Randomised blocks keep a slow
    drift of the host out of the comparison (Abedi & Brecht 2017). `only` selects servers.

    Raises UsageError for a sweep path or value that the scenario does not allow, or an unknown server.
    """
    scenario = resolved.scenario
    for name in only:
        if name not in scenario.servers:
            raise UsageError(
                f"--server {name}: unknown server; the scenario has {', '.join(scenario.servers)}"
            )
    points = sweep_points(scenario.sweep)
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
