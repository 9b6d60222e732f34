"""by-group: the load of a swarm of groups, each with its own load. Found in records only."""

from __future__ import annotations

from lab.scenario.load.executor import Executor, register
from lab.scenario.load.fields import LoadFields
from lab.scenario.load.settings import LoadSettings


@register
class ByGroup(Executor):
    """The loads of the groups."""

    name = "by-group"
    written = False

    def describe(self, load: LoadFields) -> str:
        """Describe the load."""
        return "each group its own load"

    def settings(self, load: LoadFields) -> LoadSettings:
        """Raise ValueError: a node has the load of its group."""
        raise ValueError("LAB_SWARM holds the load of one group, not of a swarm of groups")
