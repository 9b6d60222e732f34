"""Apply links for a while: choose the backend, apply, read back, probe, change at a given time, clear."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from lab.common.errors import HostCannot, LabError
from lab.impair import Backend
from lab.impair.answers import ProbeAnswer
from lab.impair.helper import Helpers
from lab.impair.link import Link
from lab.impair.placement import Interface, Interfaces, PlacedLink, choose_for, place
from lab.results.link import Directions, LinkChange, LinkRecord, RoundTrips, When

# A constant delay needs few probes for its mean; with losses, enough probes to tell 1 % from 5 %.
PROBES_CONSTANT, PROBES_RANDOM = (20, 20.0), (300, 5.0)  # count, interval in ms


@contextmanager
def applied(helpers: Helpers, links: Sequence[Link], backend: str = "auto") -> Iterator[ImpairedLinks]:
    """Apply the links within the `with`; clear them at its end, whatever happens.

    Raises:
        HostCannot: If a link cannot be applied, or is not read back as requested.
        UsageError: For an unknown backend, or for two links that impair the same packets.
    """
    interfaces: Interfaces = {}
    placed = [place(helpers, link, interfaces) for link in links]
    chosen = choose_for(backend, list(interfaces.values()))
    touched: list[Interface] = []
    try:
        for interface in interfaces.values():
            touched.append(interface)
            found = chosen.build(interface.helper, interface.name, interface.egresses)
            for index, configured in enumerate(found):
                interface.owners[index].configured[interface.label(index)] = configured
        yield ImpairedLinks(chosen, placed, touched)
    except BaseException as error:
        for failure in _clear_all(chosen, touched):
            error.add_note(f"and while clearing: {failure}")
        raise
    for failure in _clear_all(chosen, touched):
        raise failure


class ImpairedLinks:
    """Links in force. Methods may be called from any thread, one at a time."""

    def __init__(
        self, backend: Backend, links: Sequence[PlacedLink], interfaces: Sequence[Interface]
    ) -> None:
        self._backend, self._links, self._interfaces = backend, links, interfaces

    def probe(self, when: When) -> None:
        """Measure the round trip and the loss of every link from inside its nodes, then `read`.

        An error during or after the load is kept as a problem of every link, which a check judges.

        Raises:
            HostCannot: Before the load, if a host cannot be reached.
            LabError: Before the load, if a rule has vanished.
        """
        try:
            self._probe(when)
            self.read()
        except LabError as error:
            if when == "before":
                raise
            self._problem(f"{when} the load: {error}")

    def _probe(self, when: When) -> None:
        helpers = {interface.helper.node: interface.helper for interface in self._interfaces}
        for placed in self._links:
            link = placed.link
            constant = all(direction.constant for direction in link.requested)
            count, interval_ms = PROBES_CONSTANT if constant else PROBES_RANDOM
            answers = [helpers[node].probe(link.probe_to, count, interval_ms) for node in link.probe_from]
            if answers:
                placed.probed[when] = _pooled(answers)

    def read(self) -> None:
        """Read configuration and counters back. Raises LabError if a rule has vanished."""
        for interface in self._interfaces:
            found = self._backend.read(interface.helper, interface.name, interface.egresses)
            for index, reading in enumerate(found):
                owner, label = interface.owners[index], interface.label(index)
                owner.configured[label] = reading.configured
                if reading.counters:
                    owner.count(label, reading.counters)

    def load_begins(self) -> None:
        """Start the lateness of the load: that of the ramp, a burst outside the window, is dropped."""
        self._forget_lateness()
        self._read_during("at the start of the load")

    def load_ends(self) -> None:
        """End the lateness of the load: that of the burst of closing connections is dropped."""
        self._forget_lateness()
        self._read_during("at the end of the load")
        for placed in self._links:
            placed.keep_lateness()

    def _forget_lateness(self) -> None:
        for placed in self._links:
            placed.forget_lateness()

    def _read_during(self, when: str) -> None:
        try:
            self.read()
        except LabError as error:
            self._problem(f"{when}: {error}")

    def _problem(self, problem: str) -> None:
        for placed in self._links:
            placed.problems.append(problem)

    def change(self, index: int, to: Directions, at_mono_ms: float | None = None) -> LinkChange:
        """Change link number `index` at that time (None: now), all its egresses together, in place.

        Raises:
            HostCannot: If the backend in force does not support it.
        """
        placed = self._links[index]
        link = replace(placed.link, requested=to)
        with ThreadPoolExecutor(max_workers=max(len(placed.places), 1)) as pool:
            applied_ms = max(
                pool.map(partial(self._change_egress, placed, link, at_mono_ms), range(len(placed.places)))
            )
        made = LinkChange(wanted_mono_ms=at_mono_ms, applied_mono_ms=applied_ms, there=to.there, back=to.back)
        placed.changes.append(made)
        return made

    def records(self) -> tuple[LinkRecord, ...]:
        """Return the record of every link so far."""
        return tuple(placed.record(self._backend) for placed in self._links)

    def _change_egress(self, placed: PlacedLink, link: Link, at_mono_ms: float | None, number: int) -> float:
        (interface, index), egress = placed.places[number], link.egresses[number]
        egresses, to, can = interface.egresses, egress.impairment, interface.helper.capabilities
        if reason := self._backend.unsupported([to], can, len(egresses)):
            raise HostCannot(f"{interface.label(index)}: {self._backend.name}: {reason}")
        changed = self._backend.change(interface.helper, interface.name, egresses, index, to, at_mono_ms)
        egresses[index] = egress
        placed.configured[interface.label(index)] = changed.configured
        return changed.applied_mono_ms


def _clear_all(backend: Backend, interfaces: Sequence[Interface]) -> list[LabError]:
    """Clear in reverse order; return the errors."""
    failures = []
    for interface in reversed(interfaces):
        try:
            backend.clear(interface.helper, interface.name)
        except LabError as failure:
            failures.append(failure)
    return failures


def _pooled(answers: Sequence[ProbeAnswer]) -> RoundTrips:
    """Return the probes of all nodes of one link together."""
    samples = sorted(sample for answer in answers for sample in answer.rtt_ms.samples)
    sent, lost = sum(answer.sent for answer in answers), sum(answer.lost for answer in answers)
    found = RoundTrips(sent=sent, lost=lost, loss=lost / sent, by=answers[0].by)
    if not samples:
        return found
    return found.model_copy(
        update={
            "rtt_ms": statistics.fmean(samples),
            "rtt_min_ms": samples[0],
            "rtt_p50_ms": statistics.median(samples),
            "rtt_p99_ms": samples[round(0.99 * (len(samples) - 1))],
            "rtt_deviation_ms": statistics.pstdev(samples),
        }
    )
