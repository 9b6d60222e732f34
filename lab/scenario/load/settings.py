"""The object `load` in LAB_SWARM (images/CONTRACT.md)."""

from __future__ import annotations

from typing import TypedDict


class ThinkTimeSettings(TypedDict, total=False):
    """A distribution of think times."""

    distribution: str
    min_s: float
    max_s: float
    mean_s: float | None
    median_s: float
    sigma: float


class StageSettings(TypedDict, total=False):
    """One stage: its duration, and a rate or a number of users."""

    duration_s: float
    target_per_s: float
    target_users: int


class LoadSettings(TypedDict, total=False):
    """A load. Each executor sets its own keys."""

    executor: str
    rate_per_s: float | None
    start_rate_per_s: float | None
    arrivals: str
    think_time_s: float | None
    think_time: ThinkTimeSettings
    stages: list[StageSettings]
