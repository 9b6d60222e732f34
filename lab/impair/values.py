"""Where a link is applied and measured, and what became of it: frozen values."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from lab.scenario.impairment import Impairment

Way = Literal["there", "back"]


@dataclass(frozen=True)
class Side:
    """One direction of a link at the place where it is applied: what leaves `node` on `network`.

    `peers` are addresses or prefixes: only what goes to them is impaired; none means everything.
    """

    node: str
    network: str
    way: Way
    peers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Probe:
    """A round trip to measure: from inside `node` to the address `host`."""

    node: str
    host: str


@dataclass(frozen=True)
class Link:
    """A link of the scenario: impaired `there` (from the first endpoint to the second) and `back`.

    `sides` are where that is applied, `probes` where it is measured; both may be many, for a group of nodes.
    """

    endpoints: tuple[str, str]
    there: Impairment
    back: Impairment
    sides: tuple[Side, ...]
    probes: tuple[Probe, ...] = ()

    def impairment(self, side: Side) -> Impairment:
        """What is asked of one side: its way, with a seed of its own, so that sides do not lose in step."""
        way = self.there if side.way == "there" else self.back
        if way.constant:
            return way
        own = zlib.crc32(f"{way.seed} {side.node} {side.network} {side.peers}".encode())
        return replace(way, seed=own)

    @property
    def rtt_ms(self) -> float:
        """The round trip asked for: the mean delays of both directions."""
        return self.there.delay_ms + self.back.delay_ms

    @property
    def loss_share(self) -> float:
        """Share of round trips that should be lost: either way, or spoilt."""
        kept = [(1 - way.loss_share) * (1 - way.corrupt) for way in (self.there, self.back)]
        return 1 - math.prod(kept)

    def requested(self) -> dict[str, Any]:
        """As JSON, without seeds; flat when both ways are the same."""
        there, back = (replace(way, seed=0).to_json() for way in (self.there, self.back))
        return there if there == back else {"there": there, "back": back}


@dataclass(frozen=True)
class AppliedImpairment:
    """One link in force: asked for, read back from where it is applied, and seen by probes.

    `configured` is keyed by `node interface [→ peers]`; `counters` likewise, since the link was applied;
    `changes` are the timed changes in order, each with wanted and actual time; `problems` say in words why
    the link may not have been what it should be: a rule that vanished, a helper that died.
    """

    endpoints: tuple[str, str]
    backend: str
    stamp: str
    requested: Mapping[str, Any]
    configured: Mapping[str, Any]
    measured: Mapping[str, Any] = field(default_factory=dict)
    counters: Mapping[str, Any] = field(default_factory=dict)
    changes: tuple[Mapping[str, Any], ...] = ()
    problems: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data for the trial's record."""
        lists = {name: list(getattr(self, name)) for name in ("endpoints", "changes", "problems")}
        return {**vars(self), **lists}
