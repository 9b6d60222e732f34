"""Checks of the generator: a swarm at its own limit measures itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from lab.analysis.checks.evidence import SERVER, Evidence, NoData, Said, graded, percent
from lab.common.cpus import cpu_list

MORE_WORKERS = "give the swarm more workers or CPUs, or lower the load"


def generator_cpu(e: Evidence) -> Iterator[Said]:
    """CPU of each worker, and of all together on their CPUs, in one-second samples: two in a row count."""
    seconds = [s["cpu_cores"] for s in e.measured if s.get("cpu_cores")]
    if not seconds:
        raise NoData("the swarm's CPU time was not recorded")
    workers = max(map(len, seconds))
    used, index = max((_twice([float(s[i]) for s in seconds if i < len(s)]), i) for i in range(workers))
    says = f"engine {index} of the swarm used {percent(used)} of a CPU for two seconds"
    yield from graded("generator_cpu", used, says, MORE_WORKERS)
    cpus = cpu_list(str(e.trial.placement.get("swarm", "")))
    if cpus and len(cpus) < workers:
        used = _twice([sum(map(float, s)) / len(cpus) for s in seconds])
        says = f"{workers} engines on {len(cpus)} CPU used {percent(used)} of it for two seconds"
        yield from graded("generator_cpu", used, says, MORE_WORKERS)


def _twice(values: Sequence[float]) -> float:
    """The highest level held for two samples in a row (one, where there is only one)."""
    return max(map(min, pairwise(values)), default=max(values))


def generator_throttled(e: Evidence) -> Iterator[Said]:
    """Periods in which a CPU quota held a swarm node back; without a quota there are no periods."""
    for node in e.nodes("cgroup"):
        periods, held = (
            e.trial.series.increase(node, "cgroup", name, e.window_ms) or 0.0
            for name in ("cpu_periods", "cpu_throttled")
        )
        if node != SERVER and periods:
            says = f"a CPU quota held {node} back in {percent(held / periods)} of its periods"
            yield from graded("throttled", held / periods, says, "give the swarm its CPUs without a quota")


def loop_lag(e: Evidence) -> Iterator[Said]:
    """How late the engine's loop runs its timer: a loop that lags sends and reads late."""
    workers = e.result.get("workers", ())
    if not workers:
        raise NoData("the workers' own figures are missing")
    worst = max(workers, key=lambda worker: float(worker["loop_lag_p99_us"]))
    lag_ms = float(worst["loop_lag_p99_us"]) / 1000
    node = worst.get("node", f"worker-{worst['index']}")
    says = f"{node}: the loop lagged {lag_ms:.2f} ms at the p99"
    yield from graded("loop_lag_p99_ms", lag_ms, says, MORE_WORKERS)


def generator_ceiling(e: Evidence) -> Iterable[Said]:
    """The rate achieved against the most that this swarm does with a server that costs nothing."""
    if "ceiling_per_s" not in e.trial.calibration:
        raise NoData(
            str(e.trial.calibration.get("why_not", "what this swarm can do at all is not on record"))
        )
    ceiling = float(e.trial.calibration["ceiling_per_s"])
    disturbed = e.trial.calibration.get("disturbed")
    while_ = f", which was measured while {disturbed}" if disturbed else ""
    rate = e.figures.requests_per_s
    if rate is None:
        raise NoData("no rate was measured")
    return graded(
        "generator_ceiling",
        rate / ceiling,
        f"generator-limited: {rate:,.0f}/s is {percent(rate / ceiling)} of what this swarm can do at all "
        f"({ceiling:,.0f}/s against a null server{while_})",
        MORE_WORKERS,
    )


def client_exhausted(e: Evidence) -> Iterator[Said]:
    """Ports and descriptors that ran out on the client: the server was never asked."""
    remedies = {
        "ports_exhausted": "add swarm workers (each has an address of its own), or open fewer connections",
        "emfile": "add swarm workers, or raise the hard nofile limit",
    }
    for kind, remedy in remedies.items():
        number = e.errors(kind)
        yield from graded("client_exhausted", number, f"{kind}: {number:,} times on the client", remedy)
