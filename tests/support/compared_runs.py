"""Runs to compare: samples of trials of one server whose CPU time per request is known."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lab.results.record import Run, TrialRecord
from tests.support import records
from tests.support.records import counter, hdr, trial, with_load

PAIRS = 10
N = records.N


def costing(name: str, cpu_us: float, p99_us: int = 1200) -> TrialRecord:
    """A healthy trial with this CPU time per request, and this p99."""
    times = {1000: 60, p99_us: 40}
    cpu = records.series({("server", "cgroup", "cpu_us"): counter(1, cpu_us * records.RATE)})
    histogram = hdr(times, N)
    made = with_load(trial(name), response_hdr=histogram, service_hdr=histogram)
    return records.of_server(replace(made, series=cpu), made.key.server)


def sampled(
    name: str, cpu_us: float, pairs: int = PAIRS, seed: int = 1, noise: float = 0.01
) -> list[TrialRecord]:
    """That many trials, their CPU time per request spread by `noise` around `cpu_us`."""
    chance = random.Random(f"{name} {seed}")
    return [costing(f"{name}/{i}", cpu_us * chance.gauss(1, noise)) for i in range(1, pairs + 1)]


def run(trials: Sequence[TrialRecord], name: str = "base", **changes: Any) -> Run:
    """A run of these trials under a name."""
    return records.run(*trials, run=name, **changes)


def other_machine(made: Run, **host: Any) -> Run:
    """The run as if measured on another host."""
    environment = made.manifest.environment
    assert environment is not None
    assert environment.host is not None
    changed = environment.replaced(host=environment.host.replaced(**host))
    return replace(made, manifest=made.manifest.replaced(environment=changed))
