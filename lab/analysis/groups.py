"""A trial whose swarm has named groups, seen group by group: the same record with one group's load."""

from __future__ import annotations

from dataclasses import replace

from lab.results.record import TrialRecord


def parts(trial: TrialRecord) -> dict[str, TrialRecord]:
    """Group → the trial as if it had been the whole swarm; of a swarm without groups, "" → the trial.

    Links and events name nodes of the whole swarm: the scenario of a group has none.
    """
    return {
        name: replace(
            trial,
            load=trial.load.groups.get(name) if trial.load else None,
            scenario=trial.scenario.model_copy(update={"swarm": swarm, "links": (), "events": ()}),
        )
        for name, swarm in trial.scenario.swarm.groups.items()
    } or {"": trial}
