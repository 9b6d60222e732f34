"""Well-known links by name, with the values of their sources. The keys of a scenario's link override them.

The first endpoint of a link is the near end: `there` is its uplink, `back` its downlink. Each direction has
half of the source's round-trip time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lab.scenario.impairment import Impairment

ProfileName = Literal["lan", "wifi", "3g", "lte", "satellite", "transatlantic"]


@dataclass(frozen=True)
class Profile:
    """A named link and the source of its values."""

    there: Impairment
    back: Impairment
    source: str


def _each_way(delay_ms: float) -> tuple[Impairment, Impairment]:
    return Impairment(delay_ms=delay_ms), Impairment(delay_ms=delay_ms)


def _access(rtt_ms: float, up_bit_per_s: float, down_bit_per_s: float) -> tuple[Impairment, Impairment]:
    delay_ms = rtt_ms / 2
    return (
        Impairment(delay_ms=delay_ms, rate_bit_per_s=up_bit_per_s),
        Impairment(delay_ms=delay_ms, rate_bit_per_s=down_bit_per_s),
    )


PROFILES: Mapping[ProfileName, Profile] = {
    "lan": Profile(
        *_each_way(0.25),
        "round trip within a data centre 0.5 ms: Dean, Designs, Lessons and Advice from Building Large "
        "Distributed Systems, LADIS 2009",
    ),
    "wifi": Profile(*_access(2, 15e6, 30e6), "Firefox developer tools, throttling profile Wi-Fi"),
    "3g": Profile(*_access(300, 768e3, 1.6e6), "WebPageTest, connectivity profile 3G"),
    "lte": Profile(*_access(70, 12e6, 12e6), "WebPageTest, connectivity profile LTE"),
    "satellite": Profile(
        *_each_way(279),
        "RFC 2488, section 2: geostationary, ground stations at the edge of the view area, one way 279.0 ms",
    ),
    "transatlantic": Profile(
        *_each_way(36),
        "New York to London, 5,570 km × 1.3 of detour at 200 km/ms in fibre; the factor from Bozkurt et al., "
        "Dissecting Latency in the Internet's Fiber Infrastructure, 2018",
    ),
}
