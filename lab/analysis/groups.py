"""A trial whose swarm has named groups, seen group by group: the same record with one group's load."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lab.results.record import TrialRecord


def parts(trial: TrialRecord) -> dict[str, TrialRecord]:
    """Group → the trial as if it had been the whole swarm; of a swarm without groups, "" → the trial."""
    swarm: Mapping[str, Any] = trial.scenario.get("swarm", {})
    groups: Mapping[str, Any] = swarm.get("groups") or {}
    return {
        name: replace(
            trial,
            load=trial.load.groups.get(name) if trial.load else None,
            scenario={**trial.scenario, "swarm": of_group},
        )
        for name, of_group in groups.items()
    } or {"": trial}
