"""by-group: the load of a swarm of several groups, each of which has its own. Never written."""

from __future__ import annotations

from typing import Any

from lab.scenario.load.executor import Executor, register
from lab.scenario.load.fields import LoadFields


@register
class ByGroup(Executor):
    """Whatever the groups' own loads are."""

    name = "by-group"
    written = False

    def describe(self, load: LoadFields) -> str:
        """That it is in the groups."""
        return "each group its own load"

    def settings(self, load: LoadFields) -> dict[str, Any]:
        """Nothing that one node could do. Raises ValueError."""
        raise ValueError("a swarm of groups has no load in LAB_SWARM: each group has")
