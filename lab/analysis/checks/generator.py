"""Checks of the generator: a swarm at its own limit measures itself instead of the server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from lab.analysis.checks.quota import held_back
from lab.analysis.checks.trial_view import NoData, Result, TrialView, graded, told
from lab.common.cpus import cpu_list
from lab.common.units import show_percent
from lab.results.node import Calibration

UNKNOWN_CEILING = "the maximum rate of this swarm was not recorded"
MORE_WORKERS = "give the swarm more workers or CPUs, or lower the load"


def generator_cpu(view: TrialView) -> Iterator[Result]:
    """CPU use of each engine, and of all engines on their CPUs, held for two one-second samples in a row."""
    seconds = [s.cpu_cores for s in view.measured if s.cpu_cores]
    if not seconds:
        raise NoData("the swarm's CPU time was not recorded")
    workers = max(map(len, seconds))
    used, index = max((_twice([s[i] for s in seconds if i < len(s)]), i) for i in range(workers))
    message = f"swarm engine {index} used {show_percent(used)} of a CPU for two seconds"
    yield from graded("generator_cpu", used, message, MORE_WORKERS)
    cpus = cpu_list(told(view.trial.placement, "the CPU placement was not recorded").swarm)
    if cpus and len(cpus) < workers:
        used = _twice([sum(s) / len(cpus) for s in seconds])
        message = (
            f"{workers} swarm engines used {show_percent(used)} of their {len(cpus)} CPU for two seconds"
        )
        yield from graded("generator_cpu", used, message, MORE_WORKERS)


def _twice(values: Sequence[float]) -> float:
    """The highest level held for two samples in a row; a single sample stands for itself."""
    return max(map(min, pairwise(values)), default=max(values))


def generator_throttled(view: TrialView) -> Iterator[Result]:
    """CPU quota periods in which a swarm node was throttled; without a quota there are no periods."""
    for node in view.swarm_nodes:
        yield from held_back(view, node, "run the swarm without a CPU quota")


def loop_lag(view: TrialView) -> Iterator[Result]:
    """How late the event loops of the swarm run: a loop that lags sends and reads late."""
    workers = view.result.workers
    if not workers:
        raise NoData("the workers' own figures are missing")
    worst = max(workers, key=lambda worker: worker.loop_lag_p99_us)
    lag_ms = worst.loop_lag_p99_us / 1000
    node = worst.node or f"worker-{worst.index}"
    message = f"{node}: event loop lag p99 {lag_ms:.2f} ms"
    yield from graded("loop_lag_p99_ms", lag_ms, message, MORE_WORKERS)


def generator_ceiling(view: TrialView) -> Iterable[Result]:
    """The measured rate against this swarm's maximum rate with a null server."""
    calibration = view.trial.calibration or Calibration()
    ceiling = told(calibration.ceiling_per_s, calibration.why_not or UNKNOWN_CEILING)
    disturbed = f", measured while {calibration.disturbed}" if calibration.disturbed else ""
    rate = view.figures.requests_per_s
    if rate is None:
        raise NoData("no rate was measured")
    return graded(
        "generator_ceiling",
        rate / ceiling,
        f"generator-limited: {rate:,.0f} requests/s is {show_percent(rate / ceiling)} of the swarm's maximum "
        f"rate of {ceiling:,.0f}/s{disturbed}",
        MORE_WORKERS,
    )


def client_exhausted(view: TrialView) -> Iterator[Result]:
    """Client ports or descriptors that ran out: those connections never reached the server."""
    remedies = {
        "ports_exhausted": "add swarm workers, each with its own address, or open fewer connections",
        "emfile": "add swarm workers, or raise the hard nofile limit",
    }
    for kind, remedy in remedies.items():
        number = view.errors(kind)
        yield from graded("client_exhausted", number, f"{kind}: {number:,} times on the client", remedy)
