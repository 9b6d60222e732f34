"""A link of a trial: where each of its directions is applied, and from where it is probed."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from lab.common.units import show_seconds
from lab.results.link import UNTOUCHED, Counters, Directions
from lab.scenario.impairment import Impairment


@dataclass(frozen=True)
class Egress:
    """The packets that leave `node` on `network` for `peers`, of one direction of a link.

    `peers` are addresses or prefixes; without any it is every packet that no other egress of the interface
    takes.
    """

    node: str
    network: str
    direction: Literal["there", "back"] = "there"
    peers: tuple[str, ...] = ()
    impairment: Impairment = UNTOUCHED

    def impaired(self, impairment: Impairment) -> Egress:
        """Return this egress with the impairment and a seed of its own: no two lose the same packets."""
        if impairment.constant:
            return replace(self, impairment=impairment)
        seed = zlib.crc32(f"{impairment.seed} {self.node} {self.network} {self.peers}".encode())
        return replace(self, impairment=replace(impairment, seed=seed))


def too_short(delays_ms: Iterable[float], least_ms: float) -> str | None:
    """Return that a delay is shorter than a backend can do; None if none is. No delay is always possible."""
    short = any(0 < delay_ms < least_ms for delay_ms in delays_ms)
    return f"a delay is below the least that it can do, {show_seconds(least_ms / 1e3)}" if short else None


@dataclass(frozen=True)
class Link:
    """A link of the scenario, on the nodes of a trial.

    `requested` is applied at `egresses`, several of them for a group of nodes. Each node of `probe_from`
    sends probes to the address `probe_to`.
    """

    endpoints: tuple[str, str]
    requested: Directions
    egresses: tuple[Egress, ...]
    probe_from: tuple[str, ...] = ()
    probe_to: str = ""

    def __post_init__(self) -> None:
        impaired = (one.impaired(getattr(self.requested, one.direction)) for one in self.egresses)
        object.__setattr__(self, "egresses", tuple(impaired))


class Reading(NamedTuple):
    """What a backend reads back of one egress; `counters` is None where nothing counts."""

    configured: Impairment
    counters: Counters | None


class Changed(NamedTuple):
    """A change of one egress: when it was done (milliseconds of CLOCK_MONOTONIC), what is then configured."""

    applied_mono_ms: float
    configured: Impairment
