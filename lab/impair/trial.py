"""A trial's links on a deployment: endpoints become the places where each way is applied and probed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from lab.impair.apply import applied
from lab.impair.values import Link, Probe, Side
from lab.links import LinkSpec
from lab.plan import Trial
from lab.runtime import Deployment
from lab.topology import DATA

SERVER = "server"


class TrialLinks:
    """Applies the links of a trial's scenario. See experiment.Links."""

    def __init__(self, backend: str = "auto") -> None:
        self._backend = backend

    @contextmanager
    def applied(self, deployment: Deployment, trial: Trial) -> Iterator[Any]:
        """Links in force; a scenario without links needs no helper and no kernel feature."""
        links = [
            link
            for number, spec in enumerate(trial.scenario.links)
            if (link := resolve(spec, deployment, trial, number)) is not None
        ]
        if not links:
            yield Unimpaired()
            return
        with applied(deployment, links, self._backend) as impaired:
            yield impaired


class Unimpaired:
    """No link was asked for."""

    def probe(self, when: str) -> None:
        """Nothing to measure against."""

    def records(self) -> Sequence[Mapping[str, Any]]:
        """No links."""
        return []


def resolve(spec: LinkSpec, deployment: Deployment, trial: Trial, number: int) -> Link | None:
    """The link of this trial, or None when it names another server.

    Each way is applied where packets leave: the swarm's side at the workers, the server's at the server.
    """
    first, second = spec.endpoints
    there, back = spec.impairments(trial.scenario.seed + number)
    workers = [f"worker-{index}" for index in range(trial.scenario.swarm.workers)]
    swarm_first = first == "swarm" or first in workers
    swarm_end, server_end = (first, second) if swarm_first else (second, first)
    if server_end not in ("servers", trial.server):
        return None
    chosen = workers if swarm_end == "swarm" else [swarm_end]
    peers = () if swarm_end == "swarm" else tuple(deployment.address(w, DATA) for w in chosen)
    sides = [Side(worker, DATA, "there" if swarm_first else "back") for worker in chosen]
    sides.append(Side(SERVER, DATA, "back" if swarm_first else "there", peers))
    host = deployment.address(SERVER, DATA)
    probes = tuple(Probe(worker, host) for worker in chosen)
    return Link(spec.endpoints, there, back, tuple(sides), probes)
