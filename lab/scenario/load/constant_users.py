"""constant-users: a fixed number of users, each of which waits for its answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from lab.scenario.load.executor import ClosedLoad, register


@register
class ConstantUsers(ClosedLoad):
    """A closed load with the users of the swarm."""

    name = "constant-users"
    required: ClassVar[Mapping[str, str]] = {"think-time": "500ms, or 0s"}
