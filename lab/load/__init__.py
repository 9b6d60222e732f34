"""Drivers put the load on: the swarm's run from GO to its last result line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from lab.plan.plan import Trial
from lab.results.record import LoadResult
from lab.runtime import Deployment

OnEvent = Callable[[Mapping[str, Any]], None]


class Driver(Protocol):
    """Runs the load of one trial on a deployment that is up."""

    def run(self, deployment: Deployment, trial: Trial, on_event: OnEvent) -> LoadResult:
        """Returns when the load is over; raises NoMeasurement with the cause when none came about.

        A LabError that `on_event` raises ends the load, and is raised here.
        """
