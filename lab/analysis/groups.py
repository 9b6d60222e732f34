"""A trial whose swarm has named groups, seen group by group: the same record with one group's load."""

from __future__ import annotations

from dataclasses import replace

from lab.results.record import TrialRecord


def parts(trial: TrialRecord) -> dict[str, TrialRecord]:
    """Group → the trial as if it had been the whole swarm; of a swarm without groups, "" → the trial."""
    return {
        name: replace(
            trial,
            load=trial.load.groups.get(name) if trial.load else None,
            scenario=trial.scenario.model_copy(update={"swarm": swarm}),
        )
        for name, swarm in trial.scenario.swarm.groups.items()
    } or {"": trial}
