"""ramping-users: users come and go within the window, each waiting for its answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from lab.scenario.load.executor import ClosedLoad, register
from lab.scenario.load.fields import LoadFields


@register
class RampingUsers(ClosedLoad):
    """From the swarm's users, in straight lines, to the number of each stage."""

    name = "ramping-users"
    required: ClassVar[Mapping[str, str]] = {
        "think-time": "500ms, or 0s",
        "stages": "[{duration: 5s, target: 900}]",
    }
    ramping = True

    def check(self, load: LoadFields) -> None:
        """Raise ValueError, also for a stage whose target is a rate."""
        super().check(load)
        for number, stage in enumerate(load.stages):
            if not isinstance(stage.target, int):
                raise ValueError(f"stages[{number}].target: {self.name} has a number of users, such as 900")

    def max_users(self, load: LoadFields, users: int) -> int:
        """Those of the highest stage, or those at the start."""
        return max(users, *(int(stage.target) for stage in load.stages))

    def settings(self, load: LoadFields) -> dict[str, Any]:
        """LAB_SWARM's `load`."""
        stages = [{"duration_s": s.duration, "target_users": s.target} for s in load.stages]
        return {**super().settings(load), "stages": stages}
