"""A watcher of a run that only remembers."""

from __future__ import annotations

from lab.results.record import TrialRecord


class Watcher:
    """Notes what it is told, in order."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def trial_started(self, index: int, total: int, trial_id: str) -> None:
        """Note the trial."""
        self.steps.append(trial_id)

    def step(self, text: str) -> None:
        """Note the step."""
        self.steps.append(text)

    def trial_ended(self, record: TrialRecord) -> None:
        """Nothing."""
