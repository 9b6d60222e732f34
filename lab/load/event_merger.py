"""The events of several masters as those of one, for whoever follows the load."""

from __future__ import annotations

from collections.abc import Sequence

from lab.load import OnEvent
from lab.load.merge import total
from lab.results.swarm_event import MasterEvent, PhaseStart, Progress, WorkerLost


class EventMerger:
    """Passes events on: a phase when it has begun for all masters, progress when all have told theirs.

    A lost worker is passed on as it comes. Seconds and results are merged when all are there, not here.
    """

    def __init__(self, masters: Sequence[str], pass_on: OnEvent) -> None:
        self._masters, self._pass_on = masters, pass_on
        self._phases: dict[str, set[str]] = {}
        self._progress: dict[str, Progress] = {}

    def take(self, master: str, event: MasterEvent) -> None:
        """Take one event of one master."""
        if isinstance(event, PhaseStart):
            begun = self._phases.setdefault(event.phase, set())
            begun.add(master)
            if len(begun) == len(self._masters):
                self._pass_on(event)
        elif isinstance(event, Progress):
            self._progress[master] = event
            if len(self._progress) == len(self._masters):
                self._pass_on(total([self._progress[each] for each in self._masters]))
                self._progress.clear()
        elif isinstance(event, WorkerLost):
            self._pass_on(event)
