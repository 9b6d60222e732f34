"""Checks of the generator: a swarm at its own limit measures itself instead of the server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from lab.analysis.checks.quota import held_back
from lab.analysis.checks.trial_view import NoData, Result, TrialView, graded, told
from lab.common.cpus import cpu_list
from lab.common.units import show_percent
from lab.results.node import Calibration, engine_policy

QUOTA = "remove the CPU quota: it is not of the lab, which sets none for the swarm"
UNKNOWN_CEILING = "the maximum rate of this swarm was not recorded"


def generator_cpu(view: TrialView) -> Iterator[Result]:
    """CPU use of each engine, and of all engines on their CPUs, held for two one-second samples in a row."""
    seconds = [s.cpu_cores for s in view.measured if s.cpu_cores]
    if not seconds:
        raise NoData("the swarm's CPU time was not recorded")
    workers = max(map(len, seconds))
    used, index = max((_twice([s[i] for s in seconds if i < len(s)]), i) for i in range(workers))
    seen = [(used, f"for two seconds, swarm engine {index} used {show_percent(used)} of a CPU")]
    cpus = cpu_list(told(view.trial.placement, "the CPU placement was not recorded").swarm)
    if cpus and len(cpus) < workers:
        used = _twice([sum(s) / len(cpus) for s in seconds])
        shared = "the CPU" if len(cpus) == 1 else f"the {len(cpus)} CPUs"
        what = f"{workers} swarm engines used {show_percent(used)} of {shared} that they share"
        seen.append((used, f"for two seconds, {what}"))
    yield from graded("generator_cpu", *max(seen), _relief(view))


def _relief(view: TrialView) -> str:
    """Return what helps a swarm at its limit: more workers, but only on CPUs that have none yet."""
    cpus = len(cpu_list(view.trial.placement.swarm if view.trial.placement else ""))
    if view.swarm.workers < cpus:
        return (
            f"raise `workers` of the swarm ({view.swarm.workers}; it has {cpus} CPUs), or {view.lower_load}"
        )
    return f"{view.lower_load}: the swarm has no CPU for another worker on this host"


def _twice(values: Sequence[float]) -> float:
    """Return the highest level held for two samples in a row; a single sample stands for itself."""
    return max(map(min, pairwise(values)), default=max(values))


def generator_throttled(view: TrialView) -> Iterator[Result]:
    """CPU quota periods in which a swarm node was throttled; without a quota there are no periods."""
    for node in view.swarm_nodes:
        yield from held_back(view, node, QUOTA)


def loop_lag(view: TrialView) -> Iterator[Result]:
    """How late the event loops of the swarm run: a loop that lags sends and reads late."""
    workers = view.result.workers
    if not workers:
        raise NoData("the workers' own figures are missing")
    worst = max(workers, key=lambda worker: worker.loop_lag_p99_us)
    lag_ms = worst.loop_lag_p99_us / 1000
    node = worst.node or f"worker-{worst.index}"
    message = f"{node}: event loop lag p99 {lag_ms:.2f} ms"
    yield from graded("loop_lag_p99_ms", lag_ms, message, _relief(view))


def generator_ceiling(view: TrialView) -> Iterable[Result]:
    """Compare the measured rate with this swarm's maximum rate with a null server."""
    calibration = view.trial.calibration or Calibration()
    ceiling = told(calibration.ceiling_per_s, calibration.why_not or UNKNOWN_CEILING)
    ran, measured = engine_policy(view.trial.scheduling), calibration.policy
    if ran and measured and ran != measured:
        raise NoData(f"the maximum rate was measured with engines in {measured}, they now ran in {ran}")
    disturbed = f", measured while {calibration.disturbed}" if calibration.disturbed else ""
    rate = view.figures.requests_per_s
    if rate is None:
        raise NoData("no rate was measured")
    return graded(
        "generator_ceiling",
        rate / ceiling,
        f"generator-limited: {rate:,.0f} requests/s; of the swarm's maximum rate of {ceiling:,.0f}/s"
        f"{disturbed} that is {show_percent(rate / ceiling)}",
        _relief(view),
    )


def client_exhausted(view: TrialView) -> Iterator[Result]:
    """Client ports or descriptors that ran out: those connections never reached the server."""
    remedies = {
        "ports_exhausted": "raise `workers` of the swarm: each has its own address; or use fewer users"
        if view.isolated
        else "use fewer users, or the docker runtime, where each worker has its own address",
        "emfile": "raise `workers` of the swarm, or the hard limit of open files on this host",
    }
    for kind, remedy in remedies.items():
        number = view.errors(kind)
        yield from graded("client_exhausted", number, f"{kind} on the client: {number:,}", remedy)
