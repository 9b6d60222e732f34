"""A run that is planned and not started."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lab.plan import host
from lab.plan.capacity import Capacity, Placement
from lab.plan.plan import Plan
from lab.scenario.resolve import Resolved


@dataclass(frozen=True)
class Prepared:
    """A run that is planned and not started."""

    resolved: Resolved
    plan: Plan
    host: host.Host
    capacity: Capacity
    placement: Placement

    def files(self) -> dict[str, Path]:
        """Return the files that the trials' scenarios name, by the name in the scenario."""
        names = {name for trial in self.plan.trials for _, name in trial.scenario.files()}
        return {name: self.resolved.folder / name for name in sorted(names)}
