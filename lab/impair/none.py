"""No impairment: links are probed, nothing is applied. For tests, and for a baseline."""

# ruff: noqa: ARG001 - the protocol has arguments that doing nothing does not need
from __future__ import annotations

from collections.abc import Iterable, Sequence

from lab.common.clock import mono_ms
from lab.impair.answers import Capabilities
from lab.impair.helper import Helper
from lab.impair.link import Changed, Egress, Reading
from lab.results.link import UNTOUCHED
from lab.scenario.impairment import Impairment

name = "none"
stamp = "links not impaired"


def unsupported(impairments: Iterable[Impairment], can: Capabilities, peer_sets: int) -> str | None:
    """Return None: nothing is needed."""
    return None


def build(helper: Helper, interface: str, egresses: Sequence[Egress]) -> list[Impairment]:
    """Do nothing."""
    return [UNTOUCHED for _ in egresses]


def change(
    helper: Helper,
    interface: str,
    egresses: Sequence[Egress],
    index: int,
    to: Impairment,
    at_mono_ms: float | None,
) -> Changed:
    """Change nothing, at the time that was asked for."""
    return Changed(mono_ms() if at_mono_ms is None else at_mono_ms, UNTOUCHED)


def clear(helper: Helper, interface: str) -> None:
    """Do nothing."""


def read(helper: Helper, interface: str, egresses: Sequence[Egress]) -> list[Reading]:
    """Return nothing configured and nothing counted."""
    return [Reading(UNTOUCHED, None) for _ in egresses]
