"""own-users: the Locust users of the scenario's locustfile. Found in records only."""

from __future__ import annotations

from lab.scenario.load.executor import Executor, register
from lab.scenario.load.fields import LoadFields
from lab.scenario.load.settings import LoadSettings


@register
class OwnUsers(Executor):
    """A closed load that the locustfile defines."""

    name = "own-users"
    closed = True
    written = False

    def describe(self, load: LoadFields) -> str:
        """Describe the load."""
        return "closed: own Locust users"

    def settings(self, load: LoadFields) -> LoadSettings:
        """Raise ValueError: the locustfile defines the load."""
        raise ValueError("LAB_SWARM holds no load for a locustfile: the locustfile defines it")
