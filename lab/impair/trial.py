"""The links of a trial: endpoints of the scenario become egresses of its nodes."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from lab.impair.apply import ImpairedLinks, applied
from lab.impair.helper import Helpers
from lab.impair.link import Egress, Link
from lab.plan.plan import Trial
from lab.plan.topology import DATA
from lab.results.link import Directions, LinkRecord, When
from lab.scenario.link import LinkSpec

SERVER = "server"


class Addresses(Protocol):
    """The addresses of nodes: of a Deployment, or stand-ins."""

    def address(self, node: str, network: str) -> str:
        """Return the node's address on the network."""


class Nodes(Helpers, Addresses, Protocol):
    """The part of a Deployment that a trial's links need."""


class TrialLinks:
    """Applies the links of a trial's scenario. See experiment.Links."""

    def __init__(self, backend: str = "auto") -> None:
        self._backend = backend

    @contextmanager
    def applied(self, deployment: Nodes, trial: Trial) -> Iterator[LinksInForce | NoLinks]:
        """Apply the links within the `with`; a trial without links needs no helper and no kernel feature."""
        resolved = {
            spec.endpoints: link
            for number, spec in enumerate(trial.scenario.links)
            if (link := resolve(spec, deployment, trial, number)) is not None
        }
        if not resolved:
            yield NoLinks()
            return
        with applied(deployment, list(resolved.values()), self._backend) as links:
            yield LinksInForce(links, list(resolved), trial.scenario.seed)


class LinksInForce:
    """The links of a trial, while it runs. See experiment.AppliedLinks."""

    def __init__(self, links: ImpairedLinks, order: Sequence[tuple[str, str]], seed: int) -> None:
        self._links, self._order, self._seed = links, order, seed
        self._lock = threading.Lock()
        self._readers: list[threading.Thread] = []

    def probe(self, when: When) -> None:
        """Measure every link."""
        for thread in self._readers:
            thread.join()
        with self._lock:
            self._links.probe(when)

    def phase(self, name: str) -> None:
        """Count lateness from the warm-up to the drain. Returns at once."""
        reads = {"warmup": self._links.load_begins, "drain": self._links.load_ends}
        if name not in reads:
            return

        def read() -> None:
            with self._lock:
                reads[name]()

        self._readers.append(threading.Thread(target=read, name=f"links at {name}", daemon=True))
        self._readers[-1].start()

    def records(self) -> Sequence[LinkRecord]:
        """Return the record of every link so far."""
        return self._links.records()

    def change_link(self, endpoints: tuple[str, str], to: LinkSpec, at_mono_ms: float) -> float:
        """Change a link in place at that time; return when it was done. Ignore a link of another trial."""
        if endpoints not in self._order:
            return at_mono_ms
        index = self._order.index(endpoints)
        requested = Directions(*to.impairments(self._seed + index))
        return self._links.change(index, requested, at_mono_ms).applied_mono_ms


class NoLinks:
    """The links of a trial without any. See experiment.AppliedLinks."""

    def probe(self, when: When) -> None:
        """Do nothing."""

    def phase(self, name: str) -> None:
        """Do nothing."""

    def records(self) -> Sequence[LinkRecord]:
        """Return none."""
        return ()

    def change_link(self, endpoints: tuple[str, str], to: LinkSpec, at_mono_ms: float) -> float:
        """Do nothing; return that time."""
        return at_mono_ms


def resolve(spec: LinkSpec, deployment: Addresses, trial: Trial, number: int) -> Link | None:
    """Return the link of this trial; None if it is another server's.

    Each direction is applied where its packets leave: at the workers, and at the server.
    """
    ends = trial.scenario.swarm.ends
    first, second = spec.endpoints
    swarm_end, server_end = (first, second) if first in ends else (second, first)
    if server_end not in ("servers", trial.server):
        return None
    workers = ends[swarm_end]
    peers = () if swarm_end == "swarm" else tuple(deployment.address(worker, DATA) for worker in workers)
    egresses = [Egress(worker, DATA, "there" if first in ends else "back") for worker in workers]
    egresses.append(Egress(SERVER, DATA, "back" if first in ends else "there", peers))
    requested = Directions(*spec.impairments(trial.scenario.seed + number))
    return Link(spec.endpoints, requested, tuple(egresses), workers, deployment.address(SERVER, DATA))
