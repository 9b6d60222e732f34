"""A trial's links on a deployment: endpoints become the places where each way is applied and probed."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from lab.impair.apply import ImpairedLinks, applied
from lab.impair.values import Link, Probe, Side
from lab.plan.plan import Trial
from lab.plan.topology import DATA
from lab.runtime import Deployment
from lab.scenario.link import LinkSpec
from lab.scenario.swarm import Swarm

SERVER = "server"


class Addresses(Protocol):
    """Where nodes are: a Deployment, or a guess at one."""

    def address(self, node: str, network: str) -> str:
        """The node's address on the network."""


class TrialLinks:
    """Applies the links of a trial's scenario. See experiment.Links."""

    def __init__(self, backend: str = "auto") -> None:
        self._backend = backend

    @contextmanager
    def applied(self, deployment: Deployment, trial: Trial) -> Iterator[Any]:
        """Links in force; a scenario without links needs no helper and no kernel feature."""
        resolved = {
            spec.endpoints: link
            for number, spec in enumerate(trial.scenario.links)
            if (link := resolve(spec, deployment, trial, number)) is not None
        }
        if not resolved:
            yield Unimpaired()
            return
        with applied(deployment, list(resolved.values()), self._backend) as impaired:
            yield Impaired(impaired, list(resolved), trial.scenario.seed)


class Impaired:
    """The links of a trial, in force."""

    def __init__(self, links: ImpairedLinks, order: Sequence[tuple[str, str]], seed: int) -> None:
        self._links, self._order, self._seed = links, order, seed
        self._lock = threading.Lock()
        self._reading: list[threading.Thread] = []

    def probe(self, when: str) -> None:
        """Measure every link; `when` is before or after."""
        for thread in self._reading:
            thread.join()
        with self._lock:
            self._links.probe(when)

    def phase(self, name: str) -> None:
        """The load's phases as they begin: what is late counts from warm-up to drain. Returns at once."""
        reads = {"warmup": self._links.load_begins, "drain": self._links.load_ends}
        if name not in reads:
            return

        def read() -> None:
            with self._lock:
                reads[name]()

        self._reading.append(threading.Thread(target=read, name=f"links at {name}", daemon=True))
        self._reading[-1].start()

    def records(self) -> Sequence[Mapping[str, Any]]:
        """Per link: requested, configured, measured, counters, changes."""
        return self._links.records()

    def change_link(self, endpoints: tuple[str, str], to: LinkSpec, at_mono_ms: float) -> float:
        """Change a link at that moment, in place; nothing happens to a link that this trial has not.

        Returns when it was done.
        """
        if endpoints not in self._order:
            return at_mono_ms
        index = self._order.index(endpoints)
        there, back = to.impairments(self._seed + index)
        made = self._links.change(index, there, back, at_mono_ms)
        return float(made["applied_mono_ms"])


class Unimpaired:
    """No link was asked for."""

    def probe(self, when: str) -> None:
        """Nothing to measure against."""

    def phase(self, name: str) -> None:
        """Nothing that could be late."""

    def records(self) -> Sequence[Mapping[str, Any]]:
        """No links."""
        return []

    def change_link(self, endpoints: tuple[str, str], to: LinkSpec, at_mono_ms: float) -> float:
        """A link of another trial's server: nothing to change here."""
        return at_mono_ms


def resolve(spec: LinkSpec, deployment: Addresses, trial: Trial, number: int) -> Link | None:
    """The link of this trial, or None when it names another server.

    Each way is applied where packets leave: the swarm's side at the workers, the server's at the server.
    """
    first, second = spec.endpoints
    there, back = spec.impairments(trial.scenario.seed + number)
    ends = _swarm_ends(trial.scenario.swarm)
    swarm_first = first in ends
    swarm_end, server_end = (first, second) if swarm_first else (second, first)
    if server_end not in ("servers", trial.server):
        return None
    chosen = ends[swarm_end]
    peers = () if swarm_end == "swarm" else tuple(deployment.address(w, DATA) for w in chosen)
    sides = [Side(worker, DATA, "there" if swarm_first else "back") for worker in chosen]
    sides.append(Side(SERVER, DATA, "back" if swarm_first else "there", peers))
    host = deployment.address(SERVER, DATA)
    probes = tuple(Probe(worker, host) for worker in chosen)
    return Link(spec.endpoints, there, back, tuple(sides), probes)


def _swarm_ends(swarm: Swarm) -> dict[str, tuple[str, ...]]:
    """The workers behind each endpoint on the swarm's side: all, a group's, or one."""
    workers = swarm.worker_nodes
    groups = {part.name: part.workers for part in swarm.parts if part.name}
    return {"swarm": workers, **groups, **{worker: (worker,) for worker in workers}}
