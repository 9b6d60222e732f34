"""Put links in force for a while: choose the backend, apply, read back, probe, change on time, take away."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from lab.common.errors import HostCannot, LabError, UsageError
from lab.impair import Backend, choose
from lab.impair.argv import Branch
from lab.impair.helper import Helper, Helpers
from lab.impair.values import AppliedImpairment, Link, Side
from lab.scenario.impairment import Impairment

# Enough for a mean of a constant delay; for chances, enough to tell 1 % of loss from 5 %.
PROBES_CONSTANT, PROBES_RANDOM = (20, 20.0), (300, 5.0)  # count, interval in ms


@dataclass
class Interface:
    """One interface of one node, and the branches that share it: branch i belongs to `owners[i]`."""

    helper: Helper
    name: str
    branches: list[Branch] = field(default_factory=list)
    owners: list[_State] = field(default_factory=list)

    def label(self, index: int) -> str:
        """`node interface [→ peers]`: the key of a branch in records."""
        to = ", ".join(self.branches[index].peers)
        return f"{self.helper.node} {self.name}" + (f" → {to}" if to else "")


_Place = tuple[Interface, int, Side]


@dataclass
class _State:
    """What is known of one link: where its sides are, and what came of it."""

    link: Link
    places: list[_Place] = field(default_factory=list)
    configured: dict[str, Any] = field(default_factory=dict)
    counters: dict[str, Any] = field(default_factory=dict)
    probed: dict[str, dict[str, Any]] = field(default_factory=dict)
    changes: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    lateness_us: dict[str, Any] = field(default_factory=dict)


@contextmanager
def applied(helpers: Helpers, links: Sequence[Link], backend: str = "auto") -> Iterator[ImpairedLinks]:
    """Links in force within the `with`; taken away at its end, whatever happened.

    Raises HostCannot (exit 3) when what was asked for cannot be applied, or reads back otherwise.
    """
    interfaces: dict[tuple[str, str], Interface] = {}
    states = [placed(helpers, link, interfaces) for link in links]
    chosen = _choose(backend, list(interfaces.values()))
    touched: list[Interface] = []
    try:
        for interface in interfaces.values():
            touched.append(interface)
            found = chosen.build(interface.helper, interface.name, interface.branches)
            for index, configured in enumerate(found):
                interface.owners[index].configured[interface.label(index)] = configured
        yield ImpairedLinks(chosen, states, touched)
    except BaseException as error:
        for failure in _cleared(chosen, touched):
            error.add_note(f"and then: {failure}")
        raise
    for failure in _cleared(chosen, touched):
        raise failure


class ImpairedLinks:
    """Links in force. Methods may be called from any thread, one at a time."""

    def __init__(self, backend: Backend, states: Sequence[_State], interfaces: Sequence[Interface]) -> None:
        self._backend, self._states, self._interfaces = backend, states, interfaces

    def probe(self, when: str) -> None:
        """Measure every link's round trip and loss from inside its nodes, then `read`.

        `when` is `before`, `during` or `after` the load. Before, what goes wrong is raised: HostCannot when a
        peer cannot be reached, LabError when a rule has vanished. Later it is kept as a problem of the links,
        to be judged with the rest.
        """
        try:
            self._probe(when)
            self.read()
        except LabError as error:
            if when == "before":
                raise
            for state in self._states:
                state.problems.append(f"{when} the load: {error}")

    def _probe(self, when: str) -> None:
        helpers = {interface.helper.node: interface.helper for interface in self._interfaces}
        for state in self._states:
            link = state.link
            constant = link.there.constant and link.back.constant
            count, interval_ms = PROBES_CONSTANT if constant else PROBES_RANDOM
            answers = [
                helpers[probe.node].ask(do="probe", host=probe.host, count=count, interval_ms=interval_ms)
                for probe in link.probes
            ]
            if answers:
                state.probed[when] = _pooled(answers)

    def read(self) -> None:
        """Read configuration and counters back. Raises LabError when a rule has vanished."""
        for interface in self._interfaces:
            found = self._backend.read(interface.helper, interface.name, interface.branches)
            for index, reading in enumerate(found):
                state, label = interface.owners[index], interface.label(index)
                state.configured[label] = reading["configured"]
                state.counters[label] = _later(state.counters.get(label, {}), reading["counters"])
                if label in state.lateness_us:
                    state.counters[label]["lateness_us"] = state.lateness_us[label]

    def load_begins(self) -> None:
        """Lateness counts from here: the ramp before is a burst that nobody measures."""
        self._forget_lateness()
        self._read_during("when the load began")

    def load_ends(self) -> None:
        """Lateness counts to here: what the connections' end makes of it is not the load's."""
        self._forget_lateness()
        self._read_during("when the load ended")
        for state in self._states:
            state.lateness_us = {
                label: counted["lateness_us"]
                for label, counted in state.counters.items()
                if "lateness_us" in counted
            }

    def _forget_lateness(self) -> None:
        for state in self._states:
            for counted in state.counters.values():
                counted.pop("lateness_us", None)

    def _read_during(self, when: str) -> None:
        try:
            self.read()
        except LabError as error:
            for state in self._states:
                state.problems.append(f"{when}: {error}")

    def change(
        self, index: int, there: Impairment, back: Impairment, at_mono_ms: float | None = None
    ) -> Mapping[str, Any]:
        """Change link number `index` at that moment (None: now), all its sides at once, in place.

        Returns `wanted_mono_ms`, `applied_mono_ms` (of the last side), `there`, `back`. Raises HostCannot
        when the backend in force cannot do it.
        """
        state = self._states[index]
        link = replace(state.link, there=there, back=back)
        changed: Callable[[_Place], float] = partial(self._change_side, link, at_mono_ms)
        with ThreadPoolExecutor(max_workers=max(len(state.places), 1)) as pool:
            applied_ms = max(pool.map(changed, state.places))
        made = {
            "wanted_mono_ms": at_mono_ms,
            "applied_mono_ms": applied_ms,
            "there": there.to_json(),
            "back": back.to_json(),
        }
        state.changes.append(made)
        return made

    def applied(self) -> tuple[AppliedImpairment, ...]:
        """Every link as it stands: requested, configured, measured so far, counters, changes."""
        return tuple(
            AppliedImpairment(
                endpoints=state.link.endpoints,
                backend=self._backend.name,
                stamp=self._backend.stamp,
                requested=state.link.requested(),
                configured=dict(state.configured),
                measured=_measured(state),
                counters=dict(state.counters),
                changes=tuple(state.changes),
                problems=tuple(state.problems),
            )
            for state in self._states
        )

    def records(self) -> Sequence[Mapping[str, Any]]:
        """`applied` as plain data."""
        return [link.to_json() for link in self.applied()]

    def _change_side(self, link: Link, at_mono_ms: float | None, place: _Place) -> float:
        interface, index, side = place
        branches, to = interface.branches, link.impairment(side)
        if reason := self._backend.why_not([to], interface.helper.can, len(branches)):
            raise HostCannot(f"{interface.label(index)}: {self._backend.name}: {reason}")
        answer = self._backend.change(interface.helper, interface.name, branches, index, to, at_mono_ms)
        branches[index] = replace(branches[index], impairment=to)
        interface.owners[index].configured[interface.label(index)] = answer["configured"]
        return float(answer["applied_mono_ms"])


def _cleared(backend: Backend, interfaces: Sequence[Interface]) -> list[LabError]:
    """Take everything away, in reverse; what went wrong with that, all of it tried."""
    failures = []
    for interface in reversed(interfaces):
        try:
            backend.clear(interface.helper, interface.name)
        except LabError as failure:
            failures.append(failure)
    return failures


def placed(helpers: Helpers, link: Link, interfaces: dict[tuple[str, str], Interface]) -> _State:
    """Find each side's interface and give the side a branch of it. Raises HostCannot, UsageError."""
    state = _State(link)
    for side in link.sides:
        name = helpers.interface(side.node, side.network)
        if name is None:
            raise HostCannot(f"{side.node} has no interface of its own on {side.network}: nothing to impair")
        key = (side.node, name)
        if key not in interfaces:
            interfaces[key] = Interface(Helper(helpers, side.node), name)
        interface = interfaces[key]
        if any(branch.peers == side.peers for branch in interface.branches):
            to = ", ".join(side.peers) or "everyone"
            raise UsageError(f"links: two links impair what leaves {side.node} for {to}")
        interface.branches.append(Branch(side.peers, link.impairment(side)))
        interface.owners.append(state)
        state.places.append((interface, len(interface.branches) - 1, side))
    return state


def _choose(wanted: str, interfaces: Sequence[Interface]) -> Backend:
    """One backend for all: the same links must mean the same thing everywhere."""
    impairments = [branch.impairment for interface in interfaces for branch in interface.branches]
    most = max((len(interface.branches) for interface in interfaces), default=0)
    can = interfaces[0].helper.can if interfaces else {"netem": True}
    return choose(wanted, impairments, can, most)


def _pooled(answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The probes of one link as one: all round trips together."""
    samples = [sample for answer in answers for sample in answer["rtt_ms"]["samples"]]
    sent, lost = sum(a["sent"] for a in answers), sum(a["lost"] for a in answers)
    found: dict[str, Any] = {"sent": sent, "lost": lost, "loss": lost / sent, "by": answers[0]["by"]}
    if not samples:
        return found | {"rtt_ms": None}
    ranked = sorted(samples)
    return found | {
        "rtt_ms": statistics.fmean(samples),
        "rtt_min_ms": ranked[0],
        "rtt_p50_ms": statistics.median(samples),
        "rtt_p99_ms": ranked[round(0.99 * (len(ranked) - 1))],
        "rtt_deviation_ms": statistics.pstdev(samples),
    }


def _measured(state: _State) -> dict[str, Any]:
    """The figures before the load on top (the median round trip), all probes below by their time."""
    if not state.probed:
        return {}
    first = next(iter(state.probed.values()))
    asked = {"asked_rtt_ms": state.link.rtt_ms, "asked_loss": state.link.loss_share}
    return {"rtt_ms": first.get("rtt_p50_ms"), "loss": first["loss"]} | asked | state.probed


def _later(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """The newer counters; of lateness, which each reading starts anew, the reading with the most packets."""
    old, new = before.get("lateness_us"), now.get("lateness_us")
    if old and new and old["samples"] > new["samples"]:
        return {**now, "lateness_us": old}
    return dict(now)
