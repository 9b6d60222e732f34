"""Links on the interfaces of nodes: several egresses may share one, and a link may have several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from lab.common.errors import HostCannot, UsageError
from lab.impair import BACKENDS, Backend, choose
from lab.impair.answers import Capabilities
from lab.impair.helper import Helper, Helpers
from lab.impair.link import Egress, Link
from lab.results.link import Counters, Lateness, LinkChange, LinkRecord, Measured, RoundTrips, When
from lab.scenario.impairment import Impairment


@dataclass
class Interface:
    """An interface of a node: `egresses[i]` belongs to the link `owners[i]`."""

    helper: Helper
    name: str
    egresses: list[Egress] = field(default_factory=list)
    owners: list[PlacedLink] = field(default_factory=list)

    def label(self, index: int) -> str:
        """`node interface [→ peers]`: the key of an egress in records."""
        peers = ", ".join(self.egresses[index].peers)
        return f"{self.helper.node} {self.name}" + (f" → {peers}" if peers else "")


@dataclass
class PlacedLink:
    """A link, the places of its egresses, and what is known of it so far."""

    link: Link
    places: list[tuple[Interface, int]] = field(default_factory=list)
    configured: dict[str, Impairment] = field(default_factory=dict)
    counters: dict[str, Counters] = field(default_factory=dict)
    probed: dict[When, RoundTrips] = field(default_factory=dict)
    changes: list[LinkChange] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    # Lateness under load, once the load has ended: later readings do not change it.
    load_lateness: dict[str, Lateness] = field(default_factory=dict)

    def count(self, label: str, now: Counters) -> None:
        """Keep the newer counters. Each reading starts lateness anew: keep the one with the most packets."""
        before = self.counters[label].lateness_us if label in self.counters else None
        lateness = max(filter(None, (now.lateness_us, before)), key=lambda one: one.samples, default=None)
        lateness = self.load_lateness.get(label, lateness)
        self.counters[label] = now.model_copy(update={"lateness_us": lateness})

    def forget_lateness(self) -> None:
        """Let lateness count from the next reading."""
        for label, counted in self.counters.items():
            self.counters[label] = counted.model_copy(update={"lateness_us": None})

    def keep_lateness(self) -> None:
        """Let no later reading change the lateness."""
        latest = {label: counted.lateness_us for label, counted in self.counters.items()}
        self.load_lateness = {label: lateness for label, lateness in latest.items() if lateness}

    def record(self, backend: Backend) -> LinkRecord:
        """Return the link's record so far."""
        return LinkRecord(
            endpoints=self.link.endpoints,
            backend=backend.name,
            stamp=backend.stamp,
            requested=self.link.requested.without_seeds(),
            configured=dict(self.configured),
            measured=self._measured(),
            counters=dict(self.counters),
            changes=tuple(self.changes),
            problems=tuple(self.problems),
        )

    def _measured(self) -> Measured:
        if not self.probed:
            return Measured()
        first, requested = next(iter(self.probed.values())), self.link.requested
        return Measured(
            rtt_ms=first.rtt_p50_ms,
            loss=first.loss,
            asked_rtt_ms=requested.rtt_ms,
            asked_loss=requested.loss_share,
        ).model_copy(update={str(when): found for when, found in self.probed.items()})


Interfaces = dict[tuple[str, str], Interface]  # by node and name


def place(helpers: Helpers, link: Link, interfaces: Interfaces) -> PlacedLink:
    """Find the interface of each egress, and add the egress to it.

    Raises:
        HostCannot: If a node has no interface of its own on the network.
        UsageError: If two links impair the same packets.
    """
    placed = PlacedLink(link)
    for egress in link.egresses:
        name = helpers.interface(egress.node, egress.network)
        if name is None:
            raise HostCannot(f"{egress.node} has no interface of its own on {egress.network}")
        key = (egress.node, name)
        if key not in interfaces:
            interfaces[key] = Interface(Helper(helpers, egress.node), name)
        interface = interfaces[key]
        if any(other.peers == egress.peers for other in interface.egresses):
            peers = ", ".join(egress.peers) or "everyone"
            raise UsageError(f"links: two links impair what leaves {egress.node} for {peers}")
        placed.places.append((interface, len(interface.egresses)))
        interface.egresses.append(egress)
        interface.owners.append(placed)
    return placed


def needs(interfaces: Sequence[Interface]) -> tuple[list[Impairment], int]:
    """Return all impairments, and the largest number of egresses of one interface."""
    impairments = [egress.impairment for interface in interfaces for egress in interface.egresses]
    return impairments, max((len(interface.egresses) for interface in interfaces), default=0)


def choose_for(wanted: str, interfaces: Sequence[Interface], can: Capabilities | None = None) -> Backend:
    """Return one backend for all interfaces: equal links must be equal everywhere."""
    if not interfaces:
        return BACKENDS["none"]
    impairments, peer_sets = needs(interfaces)
    return choose(wanted, impairments, can or interfaces[0].helper.capabilities, peer_sets)
