"""own-users: the Locust users of the scenario's own locustfile. Never written: the locustfile says it."""

from __future__ import annotations

from typing import Any

from lab.scenario.load.executor import Executor, register
from lab.scenario.load.fields import LoadFields


@register
class OwnUsers(Executor):
    """Closed, and known to the locustfile alone."""

    name = "own-users"
    closed = True
    written = False

    def describe(self, load: LoadFields) -> str:
        """Who it is."""
        return "closed: own Locust users"

    def settings(self, load: LoadFields) -> dict[str, Any]:
        """Nothing that the lab's engine could do. Raises ValueError."""
        raise ValueError("a locustfile's users have no load in LAB_SWARM: they have their locustfile")
