"""Run → Summary: per trial the figures of its window, per server their medians. Judgement is added by `judge`."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from lab import catalog
from lab.analysis.histogram import decode, quantiles
from lab.analysis.model import (
    Errors,
    Estimate,
    LinkSummary,
    Quantiles,
    ServerSummary,
    Summary,
    TrialFigures,
)
from lab.record import LoadResult, Run, TrialRecord

SERVER = "server"
# An order-statistic interval of the median covers 95 % from six samples on (min … max: 96.9 %).
FEWEST_FOR_INTERVAL = 6


def summarise(run: Run) -> Summary:
    """Everything measured, nothing judged: verdict stays UNKNOWN."""
    groups: dict[str, list[TrialRecord]] = {}
    for trial in run.trials:
        groups.setdefault(trial.id.rsplit("/", 1)[0], []).append(trial)
    return Summary(
        run=run.id,
        scenario=run.scenario,
        question=run.question,
        stamps=tuple(sorted({stamp for trial in run.trials for stamp in trial.stamps})),
        links=tuple(_link(trial.id, link) for trial in run.trials for link in trial.links),
        servers={name: _server(trials) for name, trials in groups.items()},
        environment=dict(run.manifest.get("environment", {})),
    )


def figures(trial: TrialRecord) -> TrialFigures:
    """One trial's figures. A failed trial has its reason and nothing else."""
    load = trial.load
    if load is None:
        return TrialFigures(trial=trial.id, status=trial.status, reason=trial.reason)
    result, window = load.result, load.window_ms
    seconds = (window[1] - window[0]) / 1000
    answered, sent = int(result["answered"]), int(result["sent"])
    cpu_us, cpu_source = _cpu(trial)

    def per_request(metric: str) -> float | None:
        return _ratio(trial.series.increase(SERVER, "server", metric, window), answered)

    peak = _connections_peak(trial)
    return TrialFigures(
        trial=trial.id,
        status=trial.status,
        reason=trial.reason,
        offered_per_s=_ratio(float(result.get("intended", sent)), seconds),
        requests_per_s=_ratio(answered, seconds),
        response_ms=quantiles(decode(result["response_hdr"])),
        service_ms=quantiles(decode(result["service_hdr"])),
        errors=_errors(load),
        connections_peak=peak,
        sockets_peak=_whole(trial.series.highest(SERVER, "sockets", "established")),
        connect_ms=quantiles(decode(result["connect_ms_hdr"]))
        if result.get("connect_ms_hdr")
        else Quantiles(),
        cpu_us_per_request=_ratio(cpu_us, answered),
        cpu_cores=_ratio(cpu_us, seconds * 1e6),
        cpu_source=cpu_source,
        memory_peak_bytes=_highest(trial, ("cgroup", "memory_bytes"), ("procfs", "rss_bytes")),
        memory_bytes_per_connection=_memory(trial, "cgroup", "memory_bytes", peak),
        rss_bytes_per_connection=_memory(trial, "procfs", "rss_bytes", peak),
        switches_per_request=_sum(per_request("switches_voluntary"), per_request("switches_involuntary")),
        syscalls_per_request=_syscalls(trial, answered),
        wakeups_per_request=per_request("wakeups"),
        ready_per_wakeup=_ratio(
            trial.series.increase(SERVER, "server", "ready", window),
            trial.series.increase(SERVER, "server", "wakeups", window),
        ),
        eagain_per_request=per_request("eagain"),
        signals_per_request=per_request("signals"),
        completions_per_request=per_request("completions"),
        threads_peak=trial.series.highest(SERVER, "procfs", "threads"),
        descriptors_peak=trial.series.highest(SERVER, "procfs", "descriptors"),
        listen_overflows=_growth(trial, "sockets", "listen_overflows"),
        retransmits=_growth(trial, "sockets", "retransmits"),
    )


def _connections_peak(trial: TrialRecord) -> int | None:
    """Connections the server held at once: its own count; the kernel's where the server prints none."""
    own = trial.series.highest(SERVER, "server", "open_peak") or trial.series.highest(
        SERVER, "server", "open"
    )
    return _whole(own if own is not None else trial.series.highest(SERVER, "sockets", "established"))


def _cpu(trial: TrialRecord) -> tuple[float | None, str | None]:
    """CPU µs of the server in the window: the cgroup's, else its own getrusage(2), else /proc's clock ticks."""
    assert trial.load is not None
    window = trial.load.window_ms
    group = trial.series.increase(SERVER, "cgroup", "cpu_us", window)
    if group is not None:
        return group, "cgroup"
    own = _sum(
        *(trial.series.increase(SERVER, "server", f"cpu_{kind}_us", window) for kind in ("user", "system"))
    )
    if own is not None:
        return own, "getrusage"
    ticks = trial.series.increase(SERVER, "procfs", "cpu_us", window)
    return ticks, "procfs" if ticks is not None else None


def _memory(trial: TrialRecord, source: str, metric: str, connections: int | None) -> float | None:
    """Growth from before the first connection to the most seen in the window, per connection held."""
    assert trial.load is not None
    points = trial.series.get(SERVER, source, metric)
    held = trial.series.within(SERVER, source, metric, trial.load.window_ms)
    if not points or not held or not connections:
        return None
    return max(0.0, max(held) - points[0][1]) / connections


def _errors(load: LoadResult) -> Errors:
    result = load.result
    by_kind = {kind: int(_count(detail)) for kind, detail in result.get("errors", {}).items()}
    failed = int(result["failed"]) + int(result.get("unsent", 0))
    meant = max(int(result.get("intended", 0)), int(result["sent"]))
    return Errors(rate=failed / meant if meant else 0.0, by_kind={k: n for k, n in by_kind.items() if n})


def _count(detail: Any) -> float:
    return float(detail["count"] if isinstance(detail, dict) else detail)


def _syscalls(trial: TrialRecord, answered: int) -> dict[str, float]:
    assert trial.load is not None
    found = {}
    for node, source, metric in trial.series.points:
        if (node, source) == (SERVER, "syscalls") and answered:
            grown = trial.series.increase(node, source, metric, trial.load.window_ms)
            if grown:
                found[metric] = grown / answered
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _growth(trial: TrialRecord, source: str, metric: str) -> float | None:
    points = trial.series.get(SERVER, source, metric)
    return points[-1][1] - points[0][1] if points else None


def _highest(trial: TrialRecord, *names: tuple[str, str]) -> float | None:
    for source, metric in names:
        value = trial.series.highest(SERVER, source, metric)
        if value is not None:
            return value
    return None


def _server(trials: Sequence[TrialRecord]) -> ServerSummary:
    first = trials[0]
    each = [figures(trial) for trial in trials]
    valid = [f for f in each if f.status == "ok"]
    model = catalog.models().get(first.model or "")
    settings = first.scenario.get("servers", {}).get(first.server, {})

    def median(pick: Callable[[TrialFigures], float | None]) -> float | None:
        return _median(pick(f) for f in valid)

    return ServerSummary(
        server=first.server,
        point=dict(first.point),
        model=first.model,
        family=model.family if model else None,
        image=settings.get("image"),
        trials=len(trials),
        trials_valid=len(valid),
        connections_peak=max(
            (f.connections_peak for f in valid if f.connections_peak is not None), default=None
        ),
        sockets_peak=max((f.sockets_peak for f in valid if f.sockets_peak is not None), default=None),
        requests_per_s=estimate([f.requests_per_s for f in valid if f.requests_per_s is not None]),
        offered_per_s=median(lambda f: f.offered_per_s),
        response_ms=_median_quantiles([f.response_ms for f in valid]),
        service_ms=_median_quantiles([f.service_ms for f in valid]),
        errors=_merged_errors([f.errors for f in valid]),
        cpu_us_per_request=median(lambda f: f.cpu_us_per_request),
        cpu_cores=median(lambda f: f.cpu_cores),
        memory_bytes_per_connection=median(lambda f: f.memory_bytes_per_connection),
        rss_bytes_per_connection=median(lambda f: f.rss_bytes_per_connection),
        memory_peak_bytes=median(lambda f: f.memory_peak_bytes),
        switches_per_request=median(lambda f: f.switches_per_request),
        syscalls_per_request=_median_map([f.syscalls_per_request for f in valid]),
        wakeups_per_request=median(lambda f: f.wakeups_per_request),
        ready_per_wakeup=median(lambda f: f.ready_per_wakeup),
        eagain_per_request=median(lambda f: f.eagain_per_request),
        signals_per_request=median(lambda f: f.signals_per_request),
        completions_per_request=median(lambda f: f.completions_per_request),
        threads_peak=median(lambda f: f.threads_peak),
        refused_above=_refused_above(trials),
        per_trial=tuple(each),
    )


def _refused_above(trials: Sequence[TrialRecord]) -> int | None:
    """The number of connections above which the server refused more: seen, not assumed."""
    peaks = [
        peak
        for trial in trials
        if (peak := _connections_peak(trial)) is not None
        and any(stats.get("errors", {}).get("refused_limit") for stats in trial.server_stats)
    ]
    return max(peaks, default=None)


def estimate(values: Sequence[float]) -> Estimate:
    """Median and, from six values on, min … max style exact interval (order statistics of the binomial)."""
    if not values:
        return Estimate()
    value = statistics.median(values)
    if len(values) < FEWEST_FOR_INTERVAL:
        return Estimate(value=value)
    ordered = sorted(values)
    rank = _order_rank(len(ordered))
    return Estimate(value=value, ci95=(ordered[rank], ordered[-1 - rank]))


def _order_rank(n: int) -> int:
    """The largest k with P(Binomial(n, ½) ≤ k) ≤ 2.5 %, minus one step: [x(k+1), x(n−k)] covers ≥ 95 %."""
    from scipy.stats import binom

    rank = int(binom.ppf(0.025, n, 0.5))
    return (
        rank - 1 if binom.cdf(rank - 1, n, 0.5) > 0.025 else max(0, rank - (binom.cdf(rank, n, 0.5) > 0.025))
    )


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _median_map(maps: Sequence[dict[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for one in maps for name in one)
    return {name: statistics.median([one.get(name, 0.0) for one in maps]) for name in names}


def _median_quantiles(each: Sequence[Quantiles]) -> Quantiles:
    fields: dict[str, Any] = {
        name: _median(getattr(q, name) for q in each) for name in Quantiles.model_fields if name != "samples"
    }
    return Quantiles(samples=sum(q.samples for q in each), **fields)


def _merged_errors(each: Sequence[Errors]) -> Errors:
    kinds: dict[str, int] = {}
    for errors in each:
        for kind, number in errors.by_kind.items():
            kinds[kind] = kinds.get(kind, 0) + number
    return Errors(rate=_median(e.rate for e in each) or 0.0, by_kind=kinds)


def _link(trial: str, link: Any) -> LinkSummary:
    return LinkSummary(trial=trial, **{k: v for k, v in link.items() if k in LinkSummary.model_fields})


def _ratio(top: float | None, bottom: float | None) -> float | None:
    return top / bottom if top is not None and bottom else None


def _sum(*values: float | None) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
