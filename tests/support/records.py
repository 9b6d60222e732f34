"""A healthy trial, made by hand, and ways to spoil it: input for all that judges. Nothing is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

from hdrh.histogram import HdrHistogram

from lab.analysis.histogram import DIGITS, HIGHEST_US, LOWEST_US
from lab.analysis.histogram import times as lab_times
from lab.analysis.model import Summary
from lab.analysis.summary import summarise
from lab.analysis.verdict import judge
from lab.results.load import LoadResult, Second
from lab.results.manifest import Manifest
from lab.results.node import ServerStats
from lab.results.record import Run, Sample, Series, TrialRecord
from lab.results.swarm_event import Progress

RATE, WARMUP_S, MEASURE_S, USERS, WORKERS = 2000, 2, 10, 1000, 2
START_MS = 1_000_000.0
WINDOW_MS = (START_MS + 1000 * WARMUP_S, START_MS + 1000 * (WARMUP_S + MEASURE_S))
ENDS_MS = WINDOW_MS[1] + 3000
N = RATE * MEASURE_S
ALL = RATE * (WARMUP_S + MEASURE_S)
VERIFIED = 5
Values = Mapping[int, int]
# 99 of 100 answers within 1.2 ms, the rest at 3 ms; sends up to 40 µs late.
RESPONSE = {1000: 60, 1200: 39, 3000: 1}
LATE = {10: 95, 40: 5}


def hdr(values: Values, samples: int) -> str:
    """A histogram with `samples` values, spread as the weights of `values` (µs → weight) say."""
    return _hdr(tuple(sorted(values.items())), samples)


@cache
def _hdr(values: tuple[tuple[int, int], ...], samples: int) -> str:
    histogram = HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS)
    weight = sum(w for _, w in values)
    for value, share in values:
        if count := round(samples * share / weight):
            histogram.record_value(value, count)
    return str(histogram.encode().decode("ascii"))


def second(k: int, response: Values = RESPONSE, **changes: Any) -> dict[str, Any]:
    return {
        "event": "second", "k": k, "phase": "warmup" if k < WARMUP_S else "measure", "intended": RATE,
        "sent": RATE,
        "answered": RATE, "failed": 0, "unsent": 0, "errors": {}, "connected": USERS, "connects": 0,
        "response_hdr": hdr(response, RATE), "service_hdr": hdr(response, RATE), "bytes_in": 150 * RATE,
        "bytes_out": 40 * RATE, "late_p99_us": 40, "loop_lag_p99_us": 300, "cpu_cores": [0.2, 0.21],
        "in_flight": 2, "queued": 0, "completed": RATE, "in_flight_area_s": RATE * 1.098e-3,
        "lost_s": [0.0, 0.004],
    } | changes  # fmt: skip


def worker(index: int, loop_lag_p99_us: int = 310) -> dict[str, Any]:
    own = dict.fromkeys(("sent", "answered"), ALL // WORKERS)
    return {
        "index": index, "pid": 40 + index, "cpu_user_us": 2e6, "cpu_system_us": 1e6, "failed": 0, **own,
        "loop_lag_p99_us": loop_lag_p99_us, "connected": USERS // WORKERS,
    }  # fmt: skip


def result(**changes: Any) -> dict[str, Any]:
    counts = {
        "intended": N,
        "sent": N,
        "answered": N,
        "completed": N,
        "failed": 0,
        "unsent": 0,
        "connects": 0,
    }
    whole = {"intended": ALL, "sent": ALL, "answered": ALL, "completed": ALL, "failed": 0, "unsent": 0}
    under_way = {"in_flight_start": 2, "in_flight_end": 2, "queued_start": 0, "queued_end": 0}
    return {
        "event": "result", **counts, "errors": {}, "bytes_in": 150 * N, "bytes_out": 40 * N,
        "response_hdr": hdr(RESPONSE, N), "service_hdr": hdr(RESPONSE, N), "lateness_hdr": hdr(LATE, N),
        "lateness_generator_hdr": hdr(LATE, N),
        "connect_ms_hdr": hdr({300: 1}, USERS), "window_mono_ms": list(WINDOW_MS), "connected_peak": USERS,
        **under_way,
        "whole": whole | {"connects": USERS, "bytes_in": 150 * ALL, "bytes_out": 40 * ALL, "errors": {}},
        "in_flight_area_s": N * 1.098e-3, "in_flight_parts_s": N * 1.098e-3,
        "locust": {"requests": ALL, "failures": 0},
        "workers": [worker(i) for i in range(WORKERS)],
    } | changes  # fmt: skip


def progress(**changes: Any) -> Progress:
    """A second's progress of the load."""
    counts = {"sent": 1000, "answered": 998, "failed": 0, "in_flight": 2, "users": USERS, "connected": USERS}
    told = {"mono_ms": START_MS, "phase": "measure", "requests_per_s": float(RATE), **counts}
    return Progress.model_validate(told | changes)


PHASES = {
    "spawn": START_MS - 2500,
    "warmup": START_MS,
    "measure": WINDOW_MS[0],
    "drain": WINDOW_MS[1],
    "done": WINDOW_MS[1] + 100,
}


def load(**changes: Any) -> LoadResult:
    seconds = tuple(second(k) for k in range(WARMUP_S + MEASURE_S))
    return LoadResult(result(**changes), seconds, PHASES)


def counter(start: float, per_s: float) -> list[tuple[float, float]]:
    """A counter sampled every half second over the trial."""
    times = [START_MS - 3000 + 500 * i for i in range(2 * (WARMUP_S + MEASURE_S) + 12)]
    return [(t, start + per_s * (t - times[0]) / 1000) for t in times]


SERIES: dict[tuple[str, str, str], list[tuple[float, float]]] = {
    **{("host", "host", f"cpu_{s}_us"): counter(5e6, r) for s, r in [
        ("user", 5e5), ("nice", 0), ("system", 3e5), ("idle", 1.2e6), ("iowait", 0), ("irq", 0),
        ("softirq", 0), ("steal", 0)]},
    # CPU 0 is the server's, CPU 1 the swarm's; others use 3 and 1 % of them.
    **{("host", "host", f"cpu{cpu}_{state}_us"): counter(5e6, idle if state == "idle" else 0)
       for cpu, idle in enumerate((7.7e5, 4.3e5, 1e6))
       for state in ("idle", "iowait", "irq", "softirq", "steal")},
    **{("host", "clocks", name): counter(ahead, 0) for name, ahead in [
        ("realtime_ms", 1.7e12), ("boottime_ms", 0)]},
    ("lab", "orchestrator", "cpu_us"): counter(3, 1e4),
    **{("worker-0", "schedstat", f"{name}/43"): counter(9, rate) for name, rate in [
        ("ran_us", 2.5e5), ("waited_us", 1e5)]},
    **{("host", "host", name): counter(7, 0) for name in ("pswpin", "pswpout", "softnet_dropped")},
    **{("server", "cgroup", name): counter(1, rate) for name, rate in [
        ("cpu_us", 2e5), ("cpu_periods", 10), ("cpu_throttled", 0), ("oom_kills", 0)]},
    ("server", "cgroup", "memory_bytes"): [(t, 2e7 + (t > START_MS) * 1e7) for t, _ in counter(0, 0)],
    **{(f"worker-{i}", "cgroup", "cpu_us"): counter(1, 2.5e5) for i in range(WORKERS)},
    ("master", "cgroup", "cpu_us"): counter(1, 5e4),
    **{(node, "cgroup", name): counter(1, 0) for node in ("master", "worker-0", "worker-1")
       for name in ("cpu_periods", "cpu_throttled")},
    **{(node, "sockets", name): counter(3, 0) for node in ("server", "worker-0", "worker-1") for name in (
        "listen_overflows", "syn_retransmits", "retransmits", "udp_receive_errors", "udp_send_errors")},
    ("server", "server", "open_peak"): counter(USERS, 0),
    ("lab", "recorder", "took_ms"): [(t, 12.0) for t, _ in counter(0, 0)],
    ("lab", "recorder", "late_ms"): [(t, 0.2) for t, _ in counter(0, 0)],
    **{("worker-0", "realtime", f"{name}/41"): counter(0, rate) for name, rate in [
        ("ran_us", 2e5), ("waited_us", 2e3), ("cpu", 0)]},
    ("worker-0", "realtime", "budget_us/41"): [(t, 950_000.0) for t, _ in counter(0, 0)],
    **{("server", "syscalls", name): counter(0, rate) for name, rate in [
        ("epoll_wait", 600), ("read", 2000), ("write", 2000), ("accept4", 80)]},
}  # fmt: skip


def stats(in_window: int = N) -> tuple[ServerStats, ...]:
    """The server's lines; it answered so many requests inside the window, and all in the end."""
    each = {"accepted": USERS, "open_peak": USERS, "errors": {}}
    lines = [{"event": "stats", "mono_ms": PHASES["spawn"] - 500, "requests": VERIFIED, **each}]
    done = VERIFIED + ALL
    for mark, count in zip(WINDOW_MS, (VERIFIED + ALL - N, VERIFIED + ALL - N + in_window), strict=True):
        lines += [{"event": "stats", "mono_ms": mark + 0.5, "requests": count, **each}]
    lines += [{"event": "stats", "mono_ms": WINDOW_MS[1] + 400, "requests": done, **each}]
    lines += [{"event": "stopped", "mono_ms": ENDS_MS, "requests": done + VERIFIED, **each}]
    return tuple(ServerStats.model_validate(line) for line in lines)


def scenario(**changes: Any) -> dict[str, Any]:
    return {
        "name": "healthy",
        "servers": {"epoll_lt": {"model": "epoll_lt", "workers": 1, "backlog": 4096, "cpus": None}},
        "handler": "hello", "expect": {}, "links": [], "seed": 7, "repeat": 1,
        "swarm": {
            "wire": "http1", "workers": WORKERS, "users": USERS, "spawn_rate": 500.0,
            "load": {"executor": "constant-arrival-rate", "rate": float(RATE), "think_time": None},
            "phases": {"warmup": float(WARMUP_S), "measure": float(MEASURE_S)},
        },
    } | changes  # fmt: skip


def verified(when: str, ok: bool = True) -> dict[str, Any]:
    check = {"name": "answers", "ok": ok, "says": "right" if ok else "404 instead of 200"}
    mono_ms = PHASES["spawn"] - 900 if when == "before" else WINDOW_MS[1] + 1000
    said = {"event": "verified", "when": when, "mono_ms": mono_ms, "ok": ok}
    return {**said, "requests": VERIFIED, "checks": [check]}


def cpu_sets(**of_server: str) -> tuple[dict[str, Any], ...]:
    """The CPUs of each node before and after the load; `of_server` changes those of the server after it."""
    asked = {"server": "0", "master": "1", "worker-0": "1", "worker-1": "1"}
    rows = [
        {"node": node, "when": when, "asked": cpus, "group": cpus, "processes": cpus}
        for when in ("before", "after") for node, cpus in asked.items()
    ]  # fmt: skip
    return tuple(
        {**row, **(of_server if (row["node"], row["when"]) == ("server", "after") else {})} for row in rows
    )


def scheduled(task: str = "engine 0", **changes: Any) -> dict[str, Any]:
    """How a process was scheduled: an engine in the real-time class, or the server."""
    if task == "server":
        return {"node": "server", "task": task, "pid": 40, "policy": "SCHED_OTHER"} | changes
    budget = {"by": "outside", "runtime_us": 950_000, "period_us": 1_000_000}
    return {"node": "worker-0", "task": task, "pid": 41, "policy": "SCHED_RR", **budget} | changes


def trial(name: str = "epoll_lt/1", **changes: Any) -> TrialRecord:
    """A trial that every check is silent about."""
    fields: dict[str, Any] = {
        "id": name, "server": "epoll_lt", "repeat": int(name.rsplit("/")[-1]), "point": {}, "status": "ok",
        "scenario": scenario(), "model": "epoll_lt", "runtime": "docker", "stamps": (),
        "placement": {"server": "0", "swarm": "1", "overlap": False},
        "ready": {"event": "ready", "backlog": 4096}, "cpu_sets": cpu_sets(),
        "verify": (verified("before"), verified("after")), "load": load(), "server_stats": stats(),
        "exits": {"server": {"code": 0, "signal": None, "oom": False}}, "series": series(),
        "calibration": {"ceiling_per_s": 50_000.0}, "scheduling": (scheduled(), scheduled("server")),
    }  # fmt: skip
    return TrialRecord(**(fields | changes))


def series(
    changes: Mapping[tuple[str, str, str], Sequence[tuple[float, float]] | None] | None = None,
) -> Series:
    """The healthy series with some replaced, or taken away (None)."""
    points = SERIES | dict(changes or {})
    rows = [Sample(t, *key, v) for key, values in points.items() if values is not None for t, v in values]
    return Series.of(rows)


def planned(*trials: TrialRecord) -> dict[str, Any]:
    """A plan of these trials."""
    rows = [{"id": t.id, "server": t.server, "repeat": t.repeat, "point": dict(t.point)} for t in trials]
    return {"scenario": "healthy", "seed": 7, "trials": rows}


def manifest(trials: Sequence[TrialRecord], **changes: Any) -> dict[str, Any]:
    environment = {
        "lab": "0.1.0", "revision": "0" * 40, "python": "3.11.7", "runtime": "docker",
        "images": {"server": "lab/server:0123"}, "placement": {"server": "0", "swarm": "1"},
        "host": {"kernel": "6.18.5", "machine": "x86_64", "cpu_model": "Example CPU", "cpus": [0, 1],
                 "memory_bytes": 24 << 30, "cgroup": "v1", "boot_id": "b", "machine_id": "m",
                 "governor": "none", "smt": "off", "clock_source": "tsc", "transparent_hugepages": "madvise"},
    }  # fmt: skip
    return {
        "schema_version": 1, "run": "20261123T000000Z-healthy-0000", "scenario": "healthy",
        "question": "Is it?", "seed": 7, "argv": ["run"],
        "scenario_sha256": "0" * 64, "plan": planned(*trials),
        "environment": environment, "interrupted": False,
    } | changes  # fmt: skip


def run(*trials: TrialRecord, **changes: Any) -> Run:
    """A run of these trials."""
    return Run(Manifest.model_validate(manifest(trials, **changes)), tuple(trials))


def with_load(
    record: TrialRecord, *, seconds: Sequence[Mapping[str, Any]] | None = None, **changes: Any
) -> TrialRecord:
    """The trial with figures of its result (or its seconds) replaced.

    Counts and times of the result are those of seconds that each did an equal part of them.
    """
    assert record.load is not None
    loaded = replace(record.load, result=record.load.result.replaced(**changes))
    told = adding_up(loaded) if seconds is None else tuple(seconds)
    return replace(record, load=replace(loaded, seconds=told))


ADDED = ("intended", "sent", "answered", "completed", "failed", "unsent")


def adding_up(loaded: LoadResult) -> tuple[Second, ...]:
    """The seconds of a load with equal parts of its result, the warm-up with those of the rest."""
    result, whole = loaded.result, loaded.result.whole
    times = {name: _spread(getattr(result, name), MEASURE_S) for name in ("response_hdr", "service_hdr")}
    made = []
    for second_ in loaded.seconds:
        measured = second_.phase == "measure"
        number = second_.k - WARMUP_S if measured else second_.k
        changes: dict[str, Any] = {}
        for name in ADDED:
            total = getattr(result, name)
            if not measured and (total is None or whole is None or getattr(whole, name) is None):
                continue
            share = total if measured else getattr(whole, name) - total
            parts = MEASURE_S if measured else WARMUP_S
            changes[name] = None if share is None else _part(max(share, 0), parts, number)
        if measured:
            changes["connected"] = result.connected_peak
            changes |= {name: texts[second_.k - WARMUP_S] for name, texts in times.items()}
        made.append(second_.replaced(**changes))
    return tuple(made)


def _part(total: int, parts: int, number: int) -> int:
    return total // parts + (number < total % parts)


@cache
def _spread(text: str, parts: int) -> tuple[str, ...]:
    """A histogram in equal parts, slot by slot."""
    seen = lab_times(text)
    counts = [b - a for a, b in pairwise((0, *seen.upto))]
    made = []
    for number in range(parts):
        part = HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS)
        for (low, _), count in zip(seen.slots, counts, strict=True):
            if own := _part(count, parts, number):
                part.record_value(low, own)
        made.append(str(part.encode().decode("ascii")))
    return tuple(made)


def failing(t: TrialRecord, failed: int) -> TrialRecord:
    """That many of the window's requests timed out."""
    whole = {**result()["whole"], "answered": ALL - failed, "failed": failed}
    said = {"requests": ALL, "failures": failed}
    return with_load(
        t,
        answered=N - failed,
        failed=failed,
        whole=whole,
        locust=said,
        errors={"timeout": {"count": failed}},
    )


def with_swarm(record: TrialRecord, **changes: Any) -> TrialRecord:
    """The trial with settings of its swarm replaced."""
    swarm = {**record.scenario.swarm.model_dump(mode="json"), **changes}
    return with_scenario(record, swarm=swarm)


def with_scenario(record: TrialRecord, **changes: Any) -> TrialRecord:
    """The trial with parts of its scenario replaced."""
    return replace(record, scenario={**record.scenario.model_dump(mode="json"), **changes})


def of_server(record: TrialRecord, name: str, *others: str) -> TrialRecord:
    """The trial as if it had been that of another server; its scenario has `others` besides, no limits."""
    servers = dict.fromkeys((name, *others), record.settings.model_dump(mode="json"))
    scenario = {**record.scenario.model_dump(mode="json"), "servers": servers, "expect": {}}
    return replace(record, server=name, scenario=scenario)


def judged(*trials: TrialRecord, **facts: Any) -> Summary:
    """The summary of a run of these trials, judged."""
    made = run(*trials, **facts)
    return judge(made, summarise(made))


def counted(summary: Summary) -> set[tuple[str, str]]:
    """(check, level) of every finding that counts."""
    return {(f.check, f.level) for f in summary.findings if not f.expected}
