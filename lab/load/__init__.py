"""Drivers put the load on: the swarm's run from its start to its last result line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from lab.plan.plan import Trial
from lab.results.load import LoadResult
from lab.results.swarm_event import LoadEvent
from lab.runtime import Deployment

OnEvent = Callable[[LoadEvent], None]


class Driver(Protocol):
    """Runs the load of one trial on a deployment that is up."""

    def run(self, deployment: Deployment, trial: Trial, on_event: OnEvent) -> LoadResult:
        """Return when the load is over.

        Raises:
            NoMeasurement: None came about, with the cause.
            LabError: One that `on_event` raised; it ends the load.
        """
