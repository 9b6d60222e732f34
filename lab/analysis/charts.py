"""Run → plain chart data: numbers, lists and labels, ready for JSON. What to draw, never how.

Time is in seconds from the start of the measured window. Percentile curves are one per trial: trials are
never pooled. Time lines show one trial per server, the one whose p99 is the median of the valid ones.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from lab.analysis.histogram import FEWEST, Outcomes, response_times
from lab.analysis.model import QuantileName, ServerSummary, Summary, at_limit
from lab.results.load import LoadResult, Second
from lab.results.record import Run, TrialRecord

SERVER = "server"
CPU = ("cgroup", "procfs")
MEMORY = (("cgroup", "memory_bytes"), ("procfs", "rss_bytes"))
OPEN = (("server", "open"), ("sockets", "established"))
MOST_CURVES = 20  # percentile curves per server
CURVE_STEP = 0.05  # of log10(1 / (1 − q)): twenty points per nine
_UPPER: tuple[QuantileName, ...] = ("p99", "p95", "p90", "p50")

Point = tuple[float, float]


def charts(run: Run, summary: Summary, resolution: int = 240) -> dict[str, Any]:
    """Everything that is drawn. `resolution` is the most points of a time line."""
    shown = {label: trial for label in summary.servers if (trial := typical(run, label)) is not None}
    upper = _upper_quantile(list(shown.values()))
    return {
        "servers": [_server(run, label, server) for label, server in summary.servers.items()],
        "percentiles": [curve for label in summary.servers for curve in _curves(run, label)],
        "upper": upper,
        "timelines": [_timeline(label, trial, upper, resolution) for label, trial in shown.items()],
    }


def trials_of(run: Run, label: str) -> list[TrialRecord]:
    """Return the trials of one label of the summary: `server` or `server,path=value`."""
    return [trial for trial in run.trials if trial.key.group == label]


def typical(run: Run, label: str) -> TrialRecord | None:
    """Return the valid trial whose p99 is the (lower) median; None where no trial gave a measurement."""
    valid = [trial for trial in trials_of(run, label) if trial.load is not None and trial.status == "ok"]
    ranked = sorted(valid, key=lambda trial: (_p99_us(trial), trial.repeat))
    return ranked[(len(ranked) - 1) // 2] if ranked else None


def _system_share(trials: Sequence[TrialRecord]) -> float | None:
    """Return the kernel's share of the server's CPU time in the window (getrusage(2)); median over trials."""
    shares = []
    for trial in trials:
        if trial.load is None:
            continue
        user, system = (
            trial.series.increase(SERVER, "server", f"cpu_{kind}_us", trial.load.window_ms)
            for kind in ("user", "system")
        )
        if user is not None and system is not None and user + system > 0:
            shares.append(system / (user + system))
    return round(statistics.median(shares), 4) if shares else None


def _p99_us(trial: TrialRecord) -> int:
    assert trial.load is not None
    seen = response_times(trial.load.result)
    return int(seen.quantile(99.0).us) if seen.samples else 0


def _server(run: Run, label: str, server: ServerSummary) -> dict[str, Any]:
    memory = (
        server.memory_bytes_per_connection,
        server.pss_bytes_per_connection,
        server.rss_bytes_per_connection,
    )
    return {
        "label": label,
        "server": server.server,
        "doubted": not server.trials_valid and any(trial.status == "ok" for trial in server.per_trial),
        "limited": at_limit(server),
        "point": server.point,
        "p50_ms": server.response_ms.p50,
        "p99_ms": server.response_ms.p99,
        "at_least": [*server.response_ms.at_least, *(["cpu_us"] if server.cpu_at_least else [])],
        "busy_waits": server.busy_waits,
        "cpu_us": server.cpu_us_per_request,
        "system_share": _system_share(trials_of(run, label)),
        "memory_bytes": next((one for one in memory if one is not None), None),
    }


def supported_nines(samples: int) -> float | None:
    """How far log10(1 / (1 − q)) may go with so many samples: one hundred beyond the quantile."""
    if samples >= FEWEST["p95"]:
        return math.log10(samples / 100)
    if samples >= FEWEST["p90"]:
        return 1.0
    return math.log10(2) if samples >= FEWEST["p50"] else None


def percentile_curve(seen: Outcomes) -> list[Point]:
    """(log10(1 / (1 − q)), milliseconds) as far as samples support and answers reach; empty for too few."""
    nines = supported_nines(seen.samples)
    if nines is None:
        return []
    steps = math.floor(nines / CURVE_STEP + 1e-9)
    places = [round(step * CURVE_STEP, 4) for step in range(1, steps + 1)]
    found = ((x, seen.quantile(100 * (1 - 10**-x))) for x in places)
    return [(x, bound.us / 1000) for x, bound in found if not bound.at_least]


def _curves(run: Run, label: str) -> Iterator[dict[str, Any]]:
    valid = [trial for trial in trials_of(run, label) if trial.load is not None and trial.status == "ok"]
    for trial in valid[:MOST_CURVES]:
        assert trial.load is not None
        points = percentile_curve(response_times(trial.load.result))
        if points:
            yield {"label": label, "trial": trial.id, "points": points}


def _upper_quantile(trials: Sequence[TrialRecord]) -> QuantileName:
    """Return the highest quantile that nearly every second of the middling trial can support."""
    counts = sorted(_seldom_fewer(trial.load) for trial in trials if trial.load is not None)
    middling = counts[len(counts) // 2] if counts else 0
    return next((name for name in _UPPER if middling >= FEWEST[name]), "p50")


def _seldom_fewer(load: LoadResult) -> int:
    """How many answers nine of ten seconds of the window have at least."""
    counts = sorted(second.answered for second in load.seconds if second.phase == "measure")
    return counts[len(counts) // 10] if counts else 0


def _timeline(label: str, trial: TrialRecord, upper: QuantileName, resolution: int) -> dict[str, Any]:
    assert trial.load is not None
    origin_ms = trial.load.window_ms[0]
    return {
        "label": label,
        "trial": trial.id,
        "measured_s": [0.0, (trial.load.window_ms[1] - origin_ms) / 1000],
        "seconds": list(per_second(trial.load, upper, resolution)),
        "cpu": _cpu(trial, trial.load, resolution),
        "memory": _gauge(trial, trial.load, MEMORY, resolution),
        "open": _gauge(trial, trial.load, OPEN, resolution),
        "events": list(events(trial)),
    }


def per_second(load: LoadResult, upper: QuantileName, resolution: int) -> Iterator[dict[str, Any]]:
    """Per second of the load clock: middle `t`, rates per second, quantiles of the response time.

    Answers are `completed` in the second in which they came; all else is of requests meant for the second.

    Longer loads are cut into fewer, longer steps whose histograms are merged, which is exact.
    """
    warmup_s = _warmup_s(load)
    end_s = warmup_s + (load.window_ms[1] - load.window_ms[0]) / 1000
    within = [second for second in load.seconds if second.phase in ("warmup", "measure")]
    width = max(1, math.ceil(len(within) / resolution))
    for start in range(0, len(within), width):
        step = within[start : start + width]
        begin_s = _begin_s(step[0], warmup_s)
        until_s = min(_end_s(step[-1], warmup_s), end_s)
        length_s = until_s - begin_s
        if length_s <= 0:
            continue
        sums = {name: sum(getattr(s, name) for s in step) for name in ("intended", "failed", "unsent")}
        sums["completed"] = sum(s.done for s in step)
        yield {
            "t": round((begin_s + until_s) / 2 - warmup_s, 3),
            **{name: round(total / length_s, 1) for name, total in sums.items()},
            **_quantiles(step, upper),
        }


def _begin_s(second: Second, warmup_s: float) -> float:
    return max(second.k, warmup_s) if second.phase == "measure" else second.k


def _end_s(second: Second, warmup_s: float) -> float:
    return min(second.k + 1, warmup_s) if second.phase == "warmup" else second.k + 1


def _quantiles(step: Sequence[Second], upper: QuantileName) -> dict[str, Any]:
    """Those of the requests, and which are lower bounds; `max` is of the answers."""
    found = response_times(*step).quantiles()
    values = {"p50": found.p50, "upper": getattr(found, upper), "max": found.max}
    bounds = [key for key, name in (("p50", "p50"), ("upper", upper)) if name in found.at_least]
    return {**values, "at_least": bounds}


def _warmup_s(load: LoadResult) -> float:
    starts_ms = load.phases.warmup
    return 0.0 if starts_ms is None else (load.window_ms[0] - starts_ms) / 1000


def _moments(load: LoadResult, resolution: int) -> list[float]:
    """Evenly spaced moments from the start of the ramp to the end of the window, at least 1 s apart."""
    spawn, (start, end) = load.phases.spawn, load.window_ms
    start = start if spawn is None else spawn
    step = max(1000.0, (end - start) / resolution)
    # Counted back from the end, so that the edges of the window fall on a moment.
    return [end - step * place for place in range(int((end - start) / step), -1, -1)]


def _cpu(trial: TrialRecord, load: LoadResult, resolution: int) -> list[Point]:
    """CPUs busy, per step. User and system time are not told apart: kernels count those by ticks."""
    source = next((name for name in CPU if trial.series.get(SERVER, name, "cpu_us")), None)
    if source is None:
        return []
    busy = []
    for start, end in itertools.pairwise(_moments(load, resolution)):
        grown = trial.series.increase(SERVER, source, "cpu_us", (start, end))
        if grown is not None:
            busy.append((_t((start + end) / 2, load), round(grown / ((end - start) * 1000), 4)))
    return busy


def _gauge(
    trial: TrialRecord, load: LoadResult, names: Sequence[tuple[str, str]], resolution: int
) -> list[Point]:
    """Return a gauge over time, from the first of the (source, metric) names that was collected."""
    series = trial.series
    source, metric = next((name for name in names if series.get(SERVER, *name)), names[0])
    values = ((_t(ms, load), series.at(SERVER, source, metric, ms)) for ms in _moments(load, resolution))
    return [(t, value) for t, value in values if value is not None]


def _t(mono_ms: float, load: LoadResult) -> float:
    return round((mono_ms - load.window_ms[0]) / 1000, 3)


def events(trial: TrialRecord) -> Iterator[dict[str, Any]]:
    """Yield what happened when: phases, the scenario's own events as they really were, first errors."""
    load = trial.load
    if load is None:
        return
    for phase, starts_ms in sorted(load.phases.begun.items(), key=lambda item: item[1]):
        yield {"t": _t(starts_ms, load), "kind": "phase", "says": phase}
    for event in trial.events:
        at_ms = event.actual_mono_ms or event.wanted_mono_ms
        failed = " failed" if event.error else ""
        yield {"t": _t(at_ms, load), "kind": "event", "says": f"{event.what} {event.target}{failed}"}
    for kind, seen in sorted(load.result.errors.items()):
        if seen.first_mono_ms is not None:
            yield {"t": _t(seen.first_mono_ms, load), "kind": "error", "says": f"first {kind}"}
