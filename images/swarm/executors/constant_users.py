"""`constant-users`: closed, the same users from the warm-up to the end."""

from __future__ import annotations

from dataclasses import dataclass

from swarm import fields
from swarm.fields import JsonObject
from swarm.load import LoadProcess

from .base import Executor, Start
from .closed_load import ClosedLoad
from .think_time import NO_THINK_TIME, SETTINGS, ThinkTime, parse_think_time


@dataclass(frozen=True)
class ConstantUsers(Executor):
    """Each user sends, waits for the answer, thinks, and sends again."""

    kind = "constant-users"
    think_time: ThinkTime = NO_THINK_TIME

    @classmethod
    def parse(cls, raw: JsonObject) -> ConstantUsers:
        """Check the `load` setting; see `Executor`."""
        fields.refuse_unknown(raw, "load", ("executor", *SETTINGS))
        return cls(parse_think_time(raw))

    def run(self, start: Start) -> LoadProcess:
        """Return the process that sends for this engine's users."""
        return ClosedLoad(start, self.think_time)
