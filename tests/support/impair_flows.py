"""Helpers of the impairment tests: a link, flows over it, statistical bounds."""

from __future__ import annotations

import math
from typing import Any

from lab.impair.apply import ImpairedLinks
from lab.impair.values import Link, Probe, Side
from lab.scenario.impairment import Impairment
from tests.support.impair_namespaces import Namespaces

UNTOUCHED = Impairment()
IDLE_S = 0.4
LATE_MS = 2.0  # of the fastest of many round trips: the machine is shared, so a single one may be late


def link(
    net: Namespaces, there: Impairment, back: Impairment = UNTOUCHED, to: str = "b", peers: bool = False
) -> Link:
    """Return a link from a to another node, impaired in both directions."""
    hosts = (net.address(to),) if peers else ()
    sides = (Side("a", "data", "there", hosts), Side(to, "data", "back"))
    return Link(("a", to), there, back, sides, (Probe("a", net.address(to)),))


def measured(links: ImpairedLinks, index: int = 0) -> dict[str, Any]:
    links.probe("before")
    return dict(links.applied()[index].measured["before"])


def flow(net: Namespaces, count: int, interval_us: int, size: int = 100) -> dict[str, Any]:
    """Send datagrams from a to b; return what b received."""
    return net.flow(["receive", IDLE_S], ["send", net.address("b"), count, interval_us, size])


def counters(links: ImpairedLinks) -> dict[str, Any]:
    """Return the counters of node a's interface."""
    links.read()
    return dict(next(c for label, c in links.applied()[0].counters.items() if label.startswith("a ")))


def share_bounds(share: float, count: int) -> tuple[float, float]:
    """Return the bounds of a binomial share, five standard deviations wide: missed once in a million runs."""
    margin = max(5 * math.sqrt(share * (1 - share) / count), 2 / count)
    return share - margin, share + margin
