"""Stages of the ramping executors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from swarm import fields
from swarm.errors import SettingsError
from swarm.fields import JsonObject


@dataclass(frozen=True)
class Stage:
    """A straight line to `target` (requests a second, or users) that takes `duration_s`; 0 s is a step."""

    duration_s: float
    target: float


def parse_stages(raw: JsonObject, target: str) -> tuple[Stage, ...]:
    """Check the `stages` of a load; `target` is the name of their target setting.

    Raises:
        SettingsError: A stage is wrong, or there is none.
    """
    stages = tuple(_stage(stage, target) for stage in fields.array(raw, "stages"))
    if not stages:
        raise SettingsError(f"stages: {raw['executor']} needs at least one")
    return stages


def _stage(raw: Any, target: str) -> Stage:
    if not isinstance(raw, dict):
        raise SettingsError(f"stages: each must be an object, not {raw!r}")
    fields.refuse_unknown(raw, "stages", ("duration_s", target))
    return Stage(fields.non_negative(raw, "duration_s"), fields.non_negative(raw, target))
