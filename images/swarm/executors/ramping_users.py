"""`ramping-users`: closed, the number of users follows stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from swarm import fields
from swarm.fields import JsonObject
from swarm.load import LoadProcess

from .base import Executor, Start, UserStep
from .closed_load import ClosedLoad
from .stages import Stage, parse_stages
from .think_time import NO_THINK_TIME, SETTINGS, ThinkTime, parse_think_time


@dataclass(frozen=True)
class RampingUsers(Executor):
    """As `constant-users`, but Locust starts and stops users on the master's word, stage by stage."""

    kind = "ramping-users"
    ramps_users = True
    stages: tuple[Stage, ...]
    think_time: ThinkTime = NO_THINK_TIME

    @classmethod
    def parse(cls, raw: JsonObject) -> RampingUsers:
        """Check the `load` setting; see `Executor`."""
        fields.refuse_unknown(raw, "load", ("executor", *SETTINGS, "stages"))
        return cls(parse_stages(raw, "target_users"), parse_think_time(raw))

    def run(self, start: Start) -> LoadProcess:
        """Return the process that sends for this engine's users."""
        return ClosedLoad(start, self.think_time)

    def peak_spawn_rate_per_s(self, users: int, spawn_rate_per_s: float) -> float:
        """Return the rate of the ramp or of the steepest stage, whichever is higher."""
        before, peak_per_s = float(users), spawn_rate_per_s
        for stage in self.stages:
            peak_per_s = max(peak_per_s, (stage.target - before) / max(stage.duration_s, 1.0))
            before = stage.target
        return peak_per_s

    def user_steps(self, users: int) -> Sequence[UserStep]:
        """Return one step per stage; a stage of 0 s changes all its users within a second."""
        steps: list[UserStep] = []
        for stage in self.stages:
            change, users = abs(int(stage.target) - users), int(stage.target)
            rate_per_s = change / stage.duration_s if stage.duration_s else float(change)
            steps.append(UserStep(stage.duration_s, users, rate_per_s))
        return steps
