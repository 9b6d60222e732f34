"""ramping-users: a linear ramp of the number of users, each of which waits for its answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from lab.scenario.load.executor import ClosedLoad, register
from lab.scenario.load.fields import LoadFields
from lab.scenario.load.settings import LoadSettings, StageSettings
from lab.scenario.problem import wrong


@register
class RampingUsers(ClosedLoad):
    """A closed load from the users of the swarm to the number of each stage in turn."""

    name = "ramping-users"
    required: ClassVar[Mapping[str, str]] = {
        "think-time": "500ms, or 0s",
        "stages": "[{duration: 5s, target: 900}]",
    }
    ramping = True

    def check(self, load: LoadFields) -> None:
        """Check the keys; also raise ValueError for a stage whose target is a rate."""
        super().check(load)
        for number, stage in enumerate(load.stages):
            if not isinstance(stage.target, int):
                message = f"{self.name} needs a number of users, such as 900"
                raise wrong(message, ("stages", number, "target"), ("executor",))

    def max_users(self, load: LoadFields, users: int) -> int:
        """Return the users of the highest stage, or those at the start."""
        return max(users, *(int(stage.target) for stage in load.stages))

    def settings(self, load: LoadFields) -> LoadSettings:
        """Return `load` of LAB_SWARM."""
        stages: list[StageSettings] = [
            {"duration_s": s.duration, "target_users": int(s.target)} for s in load.stages
        ]
        return {**super().settings(load), "stages": stages}
