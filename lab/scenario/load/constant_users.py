"""constant-users: the same users for all of the load, each waiting for its answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from lab.scenario.load.executor import ClosedLoad, register


@register
class ConstantUsers(ClosedLoad):
    """As many users as the swarm has."""

    name = "constant-users"
    required: ClassVar[Mapping[str, str]] = {"think-time": "500ms, or 0s"}
