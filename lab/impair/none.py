"""No impairment: links are probed and nothing is applied. For tests, and for a baseline beside the others."""

# ruff: noqa: ARG001 - the seam has arguments that doing nothing does not need
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lab.impair.argv import Branch
from lab.impair.helper import Helper
from lab.scenario.impairment import Impairment

name = "none"
stamp = "links not impaired"


def why_not(impairments: Iterable[Impairment], can: Mapping[str, Any], branches: int) -> str | None:
    """Nothing can be missing."""
    return None


def build(helper: Helper, interface: str, branches: Sequence[Branch]) -> list[dict[str, Any]]:
    """Nothing, for each branch."""
    return [{} for _ in branches]


def change(
    helper: Helper,
    interface: str,
    branches: Sequence[Branch],
    index: int,
    to: Impairment,
    at_ms: float | None,
) -> dict[str, Any]:
    """Nothing changes, at the time that was asked for."""
    return {"applied_mono_ms": at_ms, "configured": {}}


def clear(helper: Helper, interface: str) -> None:
    """Nothing to take away."""


def read(helper: Helper, interface: str, branches: Sequence[Branch]) -> list[dict[str, Any]]:
    """Nothing is configured and nothing counted."""
    return [{"configured": {}, "counters": {}} for _ in branches]
