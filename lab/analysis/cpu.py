"""The server's CPUs: how many it may use, what share of them it used, what it used while it only waited."""

from __future__ import annotations

from lab.common.cpus import cpu_list
from lab.results.record import TrialRecord
from lab.scenario import catalog

# Of a server before the load: less than this is a few samples only.
LEAST_WAIT_MS = 1000.0
SERVER = "server"


def cpu_us(trial: TrialRecord, span_ms: tuple[float, float]) -> tuple[float | None, str | None]:
    """CPU µs of the server in a span, and their source: cgroup, its own getrusage(2), or /proc's ticks."""
    group = trial.series.increase(SERVER, "cgroup", "cpu_us", span_ms)
    if group is not None:
        return group, "cgroup"
    own = [trial.series.increase(SERVER, "server", f"cpu_{kind}_us", span_ms) for kind in ("user", "system")]
    if None not in own:
        return sum(part for part in own if part is not None), "getrusage"
    ticks = trial.series.increase(SERVER, "procfs", "cpu_us", span_ms)
    return ticks, "procfs" if ticks is not None else None


def may_use(trial: TrialRecord) -> float | None:
    """Return how many CPUs the server may use: of its CPU set, its quota, its threads; None if unknown.

    A quota that an event lowers is the lowest of the trial: then no share of it is too low.
    """
    known = [value for value in (_cpu_set(trial), _quota(trial), _threads(trial)) if value is not None]
    return min(known) if _cpu_set(trial) is not None and known else None


def busy_waits(trial: TrialRecord) -> bool:
    """Whether the model polls by design, so that its CPU is full at every rate."""
    model = catalog.models().get(trial.model or "")
    return model is not None and model.busy_waits


def waiting_cores(trial: TrialRecord) -> float | None:
    """CPUs busy from the first sample until the warm-up: connections open, and no request is sent.

    None where that is less than a second.
    """
    starts_ms = trial.load.phases.warmup if trial.load is not None else None
    points = [trial.series.get(SERVER, source, name) for source, name in _COUNTERS]
    first_ms = min((each[0][0] for each in points if each), default=None)
    if starts_ms is None or first_ms is None or starts_ms - first_ms < LEAST_WAIT_MS:
        return None
    used_us, _ = cpu_us(trial, (first_ms, starts_ms))
    return None if used_us is None else used_us / ((starts_ms - first_ms) * 1000)


_COUNTERS = (("cgroup", "cpu_us"), ("server", "cpu_user_us"), ("procfs", "cpu_us"))


def _cpu_set(trial: TrialRecord) -> float | None:
    found = trial.placement.server if trial.placement else ""
    return float(len(cpu_list(found))) if found else None


def _quota(trial: TrialRecord) -> float | None:
    lowered = [event.cpus for event in trial.scenario.events if event.limit in (trial.server, SERVER)]
    return min((cpus for cpus in (trial.settings.cpus, *lowered) if cpus is not None), default=None)


def _threads(trial: TrialRecord) -> float | None:
    model = catalog.models().get(trial.model or "")
    return float(trial.settings.workers) if model is not None and model.one_thread else None
