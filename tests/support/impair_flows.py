"""Helpers of the impairment tests: a link, flows over it, statistical bounds."""

from __future__ import annotations

import math
from typing import Any

from lab.impair.apply import ImpairedLinks
from lab.impair.link import Egress, Link
from lab.results.link import Counters, Directions, RoundTrips, When
from lab.scenario.impairment import Impairment
from testbed.namespaces import Namespaces

UNTOUCHED = Impairment()
IDLE_S = 0.4
LATE_MS = 2.0  # of the fastest of many round trips
EARLY_MS = 0.6  # a delay line on a busy host, per direction: docs/validity.md


def link(
    net: Namespaces, there: Impairment, back: Impairment = UNTOUCHED, to: str = "b", peers: bool = False
) -> Link:
    """Return a link from a to another node, impaired in both directions."""
    hosts = (net.address(to),) if peers else ()
    egresses = (Egress("a", "data", "there", hosts), Egress(to, "data", "back"))
    return Link(("a", to), Directions(there, back), egresses, ("a",), net.address(to))


def measured(links: ImpairedLinks, index: int = 0) -> RoundTrips:
    """Probe the links; return what was measured of one."""
    links.probe("before")
    found = links.records()[index].measured.before
    assert found is not None
    return found


def fastest_ms(links: ImpairedLinks, when: When) -> list[float]:
    """Return the fastest probed round trip of each link; infinite without any."""
    probes = (getattr(record.measured, when) for record in links.records())
    return [math.inf if probe is None or probe.rtt_min_ms is None else probe.rtt_min_ms for probe in probes]


def flow(net: Namespaces, count: int, interval_us: int, size: int = 100) -> dict[str, Any]:
    """Send datagrams from a to b; return what b received."""
    return net.flow(["receive", IDLE_S], ["send", net.address("b"), count, interval_us, size])


def counters(links: ImpairedLinks) -> Counters:
    """Return the counters of node a's interface."""
    links.read()
    return next(c for label, c in links.records()[0].counters.items() if label.startswith("a "))


def share_bounds(share: float, count: int) -> tuple[float, float]:
    """Return the bounds of a binomial share, five standard deviations wide: missed once in a million runs."""
    margin = max(5 * math.sqrt(share * (1 - share) / count), 2 / count)
    return share - margin, share + margin
