"""Checks across the parts of a scenario: names that exist, events within the window, wire and model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from lab.common.units import show_seconds
from lab.scenario import catalog, threshold
from lab.scenario.event import Event, link_changes
from lab.scenario.handler import unfit
from lab.scenario.impairment import ImpairmentError
from lab.scenario.link import Direction, LinkSpec, impossible
from lab.scenario.problem import wrong
from lab.scenario.server import Server
from lab.scenario.strict import kebab, unknown
from lab.scenario.swarm import RESERVED_TEXT, Swarm, is_reserved
from lab.scenario.threshold import Thresholds
from lab.scenario.yaml_file import Keys

# A host name has at most 63 characters (RFC 1123); the helper beside a node has the prefix `net-`.
NODE_LENGTH = 63 - len("net-")


class Parts(Protocol):
    """The parts of a scenario."""

    @property
    def servers(self) -> Mapping[str, Server]:
        """The servers by name."""

    @property
    def handler(self) -> str:
        """The handler of all servers, as text: `sleep:10ms`."""

    @property
    def swarm(self) -> Swarm:
        """The swarm."""

    @property
    def links(self) -> Sequence[LinkSpec]:
        """The links."""

    @property
    def events(self) -> Sequence[Event]:
        """The events."""

    @property
    def thresholds(self) -> Thresholds:
        """The thresholds by server and metric."""

    @property
    def expect(self) -> Mapping[str, object]:
        """The expected limits by server."""


def check(scenario: Parts, as_written: bool) -> None:
    """Refuse parts that do not fit together; a record may hold what earlier versions let pass.

    Raises:
        PydanticCustomError: At the keys that are wrong.
    """
    _check_names(scenario, as_written)
    _check_links(scenario)
    if as_written:
        _check_one_link(scenario)
    for index, event in enumerate(scenario.events):
        _check_event(scenario, event, ("events", index), as_written)
    if as_written:
        _check_overlaps(scenario.events)
    for part in ("expect", "thresholds"):
        for name in getattr(scenario, part):
            if name not in scenario.servers:
                message = unknown(name, list(scenario.servers), "server")
                raise wrong(message, (part, name), at_key=True)
    _check_thresholds(scenario)
    _check_transports(scenario)
    if as_written and (message := unfit(scenario.handler, scenario.swarm.wire)):
        kind = scenario.handler.partition(":")[0]
        wires = [("swarm", group, "wire") for group in scenario.swarm.groups]
        raise wrong(message, ("handler", kind), ("handler",), ("swarm", "wire"), *wires)


def _check_names(scenario: Parts, as_written: bool) -> None:
    for name in scenario.servers:
        if is_reserved(name) and as_written:
            raise wrong(f"{name} cannot name a server: {RESERVED_TEXT}", ("servers", name), at_key=True)
    for name, group in scenario.swarm.groups.items():
        suffix = f"-worker-{group.workers - 1}"
        if as_written and len(name) > (longest := NODE_LENGTH - len(suffix)):
            message = f"at most {longest} characters: its nodes, such as {name}{suffix}, are host names"
            raise wrong(message, ("swarm", name), at_key=True)
        if name in scenario.servers:
            message = "a server has the same name, so links cannot tell them apart"
            raise wrong(message, ("swarm", name), ("servers", name), at_key=True)


def _check_links(scenario: Parts) -> None:
    swarm_ends = list(scenario.swarm.ends)
    known = [*swarm_ends, "servers", *scenario.servers]
    for index, link in enumerate(scenario.links):
        place = ("links", index, "endpoints")
        for number, end in enumerate(link.endpoints):
            if end not in known:
                raise wrong(unknown(end, known, "endpoint"), (*place, number))
        if len([end for end in link.endpoints if end in swarm_ends]) != 1:
            raise wrong("a link joins a node of the swarm and a server", place)


def _check_one_link(scenario: Parts) -> None:
    """Refuse a second link between a worker and a server: both would impair the same packets."""
    seen: dict[tuple[str, str], int] = {}
    for index, link in enumerate(scenario.links):
        for pair in _joined(scenario, link):
            first = seen.setdefault(pair, index)
            if first != index:
                ends = ", ".join(scenario.links[first].endpoints)
                message = (
                    f"{' and '.join(pair)} have a link already, links[{first}] [{ends}]: write one for both"
                )
                raise wrong(message, ("links", index, "endpoints"), ("links", first, "endpoints"))


def _joined(scenario: Parts, link: LinkSpec) -> Iterator[tuple[str, str]]:
    """Yield each worker and server between which a link impairs packets."""
    ends = scenario.swarm.ends
    swarm_end, server_end = sorted(link.endpoints, key=lambda end: end not in ends)
    servers = scenario.servers if server_end == "servers" else (server_end,)
    yield from ((worker, server) for worker in ends[swarm_end] for server in servers)


def _check_event(scenario: Parts, event: Event, at: Keys, as_written: bool) -> None:
    nodes = [*scenario.servers, *scenario.swarm.worker_nodes]
    if event.node is not None and event.node not in nodes:
        raise wrong(unknown(event.node, nodes, "node"), (*at, event.action))
    lab_servers = [name for name, server in scenario.servers.items() if server.model]
    if event.restart is not None and event.restart not in lab_servers:
        can = ", ".join(lab_servers) or "there is none"
        raise wrong(f"only a server with a model can be restarted: {can}", (*at, "restart"))
    joined = [link.endpoints for link in scenario.links]
    if event.endpoints is not None and event.endpoints not in joined:
        known = ", ".join(f"[{one}, {other}]" for one, other in joined) or "none"
        place = (*at, "link" if event.link else "partition")
        raise wrong(f"unknown link [{', '.join(event.endpoints)}]; known: {known}", place)
    if as_written:
        _check_link_changes(scenario, event, at)
    if event.ends_s > scenario.swarm.phases.measure:
        begins = event.at >= scenario.swarm.phases.measure
        what = "begins" if begins else "ends"
        message = f"the event {what} after the measured window ({scenario.swarm.phases.measure:g}s)"
        keys = ("at", "for") if begins else ("for", "at")
        raise wrong(message, *((*at, key) for key in keys), *_measure_paths(scenario))


def _check_overlaps(events: Sequence[Event]) -> None:
    """Refuse an event within another of the same target: the end of that one would undo it."""
    for one, event in enumerate(events):
        for other, later in enumerate(events):
            if one != other and event.overlaps(later) and (later.at > event.at or other > one):
                lasts = " … ".join(show_seconds(s) for s in (event.at, event.ends_s))
                message = f"events[{one}] changes the same ({lasts}), and its end would undo this event"
                raise wrong(message, ("events", other, "at"), ("events", one, "for"), ("events", one, "at"))


def _measure_paths(scenario: Parts) -> Iterator[Keys]:
    for name in scenario.swarm.groups:
        yield "swarm", name, "phases", "measure"
    yield "swarm", "phases", "measure"


def _check_link_changes(scenario: Parts, event: Event, at: Keys) -> None:
    """Refuse an event that makes an impossible link."""
    for number, link in enumerate(scenario.links):
        if link.endpoints == event.endpoints:
            _check_ramp_start(event, link, at, ("links", number))
            changes = [(change[0], (*at, *change[1]))] if (change := event.change) else []
            try:
                for _, changed in link_changes(link, event):
                    changed.impairments()
            except ImpairmentError as error:
                raise impossible(error, *changes, *link.holders(("links", number))) from None
            except ValueError as error:
                raise wrong(str(error), *(path for _, path in changes)) from None
            return


def _check_ramp_start(event: Event, link: LinkSpec, at: Keys, at_link: Keys) -> None:
    """Refuse a ramp of a field that only the link's profile sets: it would start at 0."""
    if event.ramp is None or link.profile is None:
        return
    for name in Direction.model_fields:
        if getattr(event.ramp.to, name) is not None and getattr(link, name) is None:
            key = kebab(name)
            raise wrong(
                f"the ramp of {key} has no start: the link takes it from profile {link.profile}; "
                f"write {key} at the link",
                (*at, "ramp", "to", key),
                (*at_link, "profile"),
            )


def _check_thresholds(scenario: Parts) -> None:
    for name, of_server in scenario.thresholds.items():
        for metric, conditions in of_server.items():
            at: Keys = ("thresholds", name, metric)
            if metric not in threshold.METRICS:
                raise wrong(unknown(metric, list(threshold.METRICS), "metric"), at, at_key=True)
            for index, condition in enumerate(conditions):
                try:
                    threshold.read(metric, condition)
                except ValueError as error:
                    place = (*at, index) if isinstance(condition, str) else (*at, index, "threshold")
                    raise wrong(str(error), place) from None


def _check_transports(scenario: Parts) -> None:
    wire = scenario.swarm.wire
    wanted = "udp" if wire == "datagram" else "tcp"
    for name, server in scenario.servers.items():
        if server.model is None or wanted in (can := catalog.models()[server.model].transports):
            continue
        groups = [("swarm", group, "wire") for group in scenario.swarm.groups]
        message = f"{server.model} supports {'/'.join(can)}, but wire {wire} needs {wanted}"
        raise wrong(message, ("servers", name, "model"), ("swarm", "wire"), *groups)
