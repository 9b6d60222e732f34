"""Synthetic runs with known figures, as results.store keeps them: input for everything that reads a run.

Run as a program it writes `tests/data/golden`; tests take runs in memory from `golden()` and `sweep()`.
Nothing here is a measurement: the figures are made up to look like a c10k run with its known limits.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hdrh.histogram import HdrHistogram

from lab.common.paths import ROOT
from lab.results import store
from lab.results.hdr import DIGITS, HIGHEST_US, LOWEST_US
from lab.results.link import LinkRecord
from lab.results.load import LoadResult
from lab.results.manifest import Manifest
from lab.results.record import Run, Sample, Series, TrialRecord

GOLDEN = ROOT / "tests/data/golden"
WARMUP_S, MEASURE_S, DRAIN_S, RATE_PER_S, USERS = 2, 8, 1, 2000, 10_000
COUNTED = ("intended", "sent", "answered", "completed", "failed")
IN_FLIGHT = 82  # 2,000/s at 41 ms
START_MS = 1_000_000.0
KIB = 1024.0


@dataclass(frozen=True)
class Shape:
    """The made-up truth about one server."""

    model: str
    base_ms: float = 40.8
    tail_ms: float = 1.2
    cpu_us: float = 7.0
    user_share: float = 0.35
    memory_per_connection: float = 9.8 * KIB
    threads: int = 1
    switches: float = 0.4
    ready: float = 3.2
    eagain: float = 0.0
    syscalls: Mapping[str, float] = ()  # type: ignore[assignment]
    open_most: int = USERS
    answered_share: float = 1.0
    error: str = "timeout"
    overflows: int = 0
    crashes: bool = False


SHAPES = {
    "blocking": Shape("blocking", 41.1, 2.4, 6.1, open_most=1, answered_share=0.41, overflows=5903,
                      syscalls={"recvfrom": 1.0, "sendto": 1.0, "accept4": 0.001}),
    "thread": Shape("thread", 41.3, 3.9, 12.4, 0.3, 47.2 * KIB, USERS + 1, 2.04,
                    syscalls={"recvfrom": 1.0, "sendto": 1.0, "futex": 1.7}),
    "select": Shape("select", 41.6, 3.0, 14.9, 0.2, 9.6 * KIB, ready=2.9, open_most=1017,
                    answered_share=0.102, error="closed",
                    syscalls={"recvfrom": 1.0, "sendto": 1.0, "select": 0.34}),
    "epoll_lt": Shape("epoll_lt", syscalls={"recvfrom": 1.0, "sendto": 1.0, "epoll_wait": 0.31}),
    "epoll_et": Shape("epoll_et", 40.8, 1.3, 7.6, eagain=1.0,
                      syscalls={"recvfrom": 2.0, "sendto": 1.0, "epoll_wait": 0.33}),
    "asyncio": Shape("asyncio", 41.0, 1.9, 11.2, 0.6, 12.9 * KIB, ready=2.6,
                     syscalls={"recvfrom": 1.0, "sendto": 1.0, "epoll_wait": 0.38}),
    "crash": Shape("epoll_lt", crashes=True),
}  # fmt: skip

ENVIRONMENT = {
    "lab": "0.1.0",
    "revision": "0000000000000000000000000000000000000000",
    "python": "3.11.7",
    "runtime": "docker",
    "engine": {"version": "20.10.24", "api": "1.41", "storage": "overlay2"},
    "images": {"server": "lab/server:0123456789ab", "swarm": "lab/swarm:ba9876543210"},
    "host": {
        "kernel": "6.18.5", "machine": "x86_64", "cpu_model": "Example CPU @ 2.50GHz", "cpus": [0, 1],
        "memory_bytes": 24 << 30, "nofile_hard": 20_000, "somaxconn": 4096, "cgroup": "v1",
        "congestion_control": "bbr",
    },
    "placement": {"server": "0", "swarm": "1", "overlap": False},
}  # fmt: skip


def golden(repeats: int = 2) -> Run:
    """Seven servers, two repeats: a healthy run with two known limits, and one server that crashes."""
    trials = [
        trial(name, f"{name}/{repeat}", repeat, shape, {})
        for repeat in range(1, repeats + 1)
        for name, shape in SHAPES.items()
    ]
    question = "Which I/O models hold 10,000 connections over a 40 ms link, and what does each request cost?"
    return of_trials("20261123T071705Z-golden-3f9a", "golden", trials, question)


def sweep(users: tuple[int, ...] = (10, 100, 1000, 10_000)) -> Run:
    """Three servers over a growing number of connections: select's cost grows, epoll's does not."""
    trials = []
    for count in users:
        for name in ("select", "epoll_lt", "thread"):
            shape = replace(SHAPES[name], open_most=count, answered_share=1.0, cpu_us=_cost_us(name, count))
            point = {"swarm.users": count}
            trials.append(trial(name, f"{name},users={count}/1", 1, shape, point))
    question = "How does the cost of a request grow with the number of open connections?"
    return of_trials("20261123T081205Z-growth-77aa", "growth", trials, question)


def _cost_us(name: str, users: int) -> float:
    return {"select": 6.0 + 0.011 * users, "epoll_lt": 6.9, "thread": 11.0 + 0.0002 * users}[name]


def trial(name: str, trial_id: str, repeat: int, shape: Shape, point: Mapping[str, Any]) -> TrialRecord:
    """One trial of a made-up server. The same arguments give the same record."""
    chance = random.Random(trial_id)
    users = int(point.get("swarm.users", USERS))
    common: dict[str, Any] = {
        "id": trial_id, "server": name, "repeat": repeat, "point": dict(point), "model": shape.model,
        "scenario": _scenario(users), "runtime": "docker", "stamps": ("delay: user space",),
        "placement": {"server": "0", "swarm": "1", "overlap": False},
        "ready": {"event": "ready", "model": shape.model, "wire": "http1", "port": 9102, "backlog": 4096},
        "verify": ({"event": "verified", "ok": True, "checks": []},),
    }  # fmt: skip
    if shape.crashes:
        return TrialRecord(
            **common,
            status="failed",
            reason="server died (SIGSEGV) in phase warmup; see server.log",
            exit_code=99,
            exits={"server": {"code": 139, "signal": "SIGSEGV", "oom": False}},
            last_lines={"server": ["ready on port 9102", "<b>Segmentation fault</b> \x1b[31m(core dumped)"]},
        )
    load = _load(shape, chance, users)
    return TrialRecord(
        **common,
        status="ok",
        load=load,
        server_stats=_stats(shape),
        links=(LinkRecord.model_validate(_link(chance)),),
        exits={"server": {"code": 0, "signal": None, "oom": False}},
        series=Series.of(_samples(shape, load, chance, users)),
    )


def of_trials(run_id: str, name: str, trials: list[TrialRecord], question: str = "") -> Run:
    """A run of these trials, in this order, with a manifest."""
    plan = {
        "scenario": name,
        "seed": 7,
        "trials": [
            {"id": t.id, "server": t.server, "repeat": t.repeat, "point": dict(t.point)} for t in trials
        ],
    }
    manifest = {
        "schema_version": 1, "run": run_id, "scenario": name, "question": question, "seed": 7, "plan": plan,
        "argv": ["run", name], "environment": ENVIRONMENT, "interrupted": False,
    }  # fmt: skip
    return Run(Manifest.model_validate(manifest), tuple(trials))


def _scenario(users: int) -> dict[str, Any]:
    return {
        "name": "golden",
        "servers": {name: {"model": s.model, "workers": 1, "backlog": 4096} for name, s in SHAPES.items()},
        "handler": "hello",
        "swarm": {
            "wire": "http1", "workers": 2, "users": users, "spawn_rate": 2000.0,
            "load": {"executor": "constant-arrival-rate", "rate": RATE_PER_S, "think_time": None},
            "phases": {"warmup": float(WARMUP_S), "measure": float(MEASURE_S)},
        },
        "links": [{"endpoints": ["swarm", "servers"], "delay": "20ms"}],
        "expect": {"blocking": {"served_at_once": 1}, "select": {"max_open": 1024}},
        "seed": 7,
        "repeat": 2,
    }  # fmt: skip


def _histogram(shape: Shape, chance: random.Random, samples: int, waiting_ms: float = 0.0) -> str:
    histogram = HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS)
    for _ in range(samples):
        late = chance.expovariate(1 / waiting_ms) if waiting_ms else 0.0
        value_ms = shape.base_ms + chance.lognormvariate(0, 0.8) * shape.tail_ms / 4 + late
        histogram.record_value(int(value_ms * 1000))
    return str(histogram.encode().decode("ascii"))


def _load(shape: Shape, chance: random.Random, users: int) -> LoadResult:
    clock_ms = START_MS + 1000 * users / 2000 + 500
    seconds = [_second(shape, chance, k, users) for k in range(WARMUP_S + MEASURE_S)]
    window = [second for second in seconds if second["phase"] == "measure"]
    totals = {key: sum(second[key] for second in window) for key in COUNTED}
    merged = {name: _merged([s[name] for s in window]) for name in ("response_hdr", "service_hdr")}
    measure_ms = clock_ms + 1000 * WARMUP_S
    errors = {}
    if totals["failed"]:
        errors[shape.error] = {
            "count": totals["failed"], "first_mono_ms": measure_ms + 12, "last_mono_ms": measure_ms + 7990,
            "example": "no answer within 2 s",
        }  # fmt: skip
    result = {
        "event": "result", "mono_ms": clock_ms + 11_500, **totals, **merged, "unsent": 0, "errors": errors,
        "window_mono_ms": [measure_ms, measure_ms + 1000 * MEASURE_S], "connected_peak": users,
        "connect_ms_hdr": _histogram(shape, chance, 500), "lateness_hdr": _lateness(chance),
        "in_flight_start": IN_FLIGHT, "in_flight_end": IN_FLIGHT, "queued_start": 0, "queued_end": 0,
        "locust": {"requests": totals["sent"], "failures": totals["failed"]},
        "whole": {key: sum(second[key] for second in seconds) for key in totals},
        "workers": [{"index": i, "pid": 40 + i, "cpu_user_us": 2.1e6, "cpu_system_us": 1.4e6,
                     "loop_lag_p99_us": 310, "connected": users // 2, "sent": totals["sent"] // 2,
                     "answered": totals["answered"] // 2, "failed": totals["failed"] // 2} for i in range(2)],
    }  # fmt: skip
    phases = {
        "spawn": START_MS,
        "warmup": clock_ms,
        "measure": measure_ms,
        "drain": measure_ms + 1000 * MEASURE_S,
        "done": measure_ms + 1000 * (MEASURE_S + DRAIN_S),
    }
    return LoadResult(result, tuple(seconds), phases)


def _second(shape: Shape, chance: random.Random, k: int, users: int) -> dict[str, Any]:
    intended = RATE_PER_S + chance.randint(-8, 8)
    answered = round(intended * shape.answered_share)
    pause = 18.0 if k == 6 and shape.model == "thread" else 0.0
    return {
        "event": "second", "k": k, "phase": "warmup" if k < WARMUP_S else "measure",
        "intended": intended, "sent": intended, "answered": answered, "failed": intended - answered,
        "completed": answered, "unsent": 0, "queued": 0,
        "errors": {shape.error: intended - answered} if answered < intended else {},
        "connected": users, "connects": 0, "in_flight": IN_FLIGHT,
        "bytes_in": answered * 150, "bytes_out": intended * 40,
        "response_hdr": _histogram(shape, chance, answered, pause),
        "service_hdr": _histogram(shape, chance, answered),
        "late_p99_us": 240, "loop_lag_p99_us": 300, "cpu_cores": [0.21, 0.2],
    }  # fmt: skip


def _merged(texts: list[str]) -> str:
    total = HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS)
    for text in texts:
        total.add(HdrHistogram.decode(text))
    return str(total.encode().decode("ascii"))


def _lateness(chance: random.Random) -> str:
    histogram = HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS)
    for _ in range(1000):
        histogram.record_value(int(chance.expovariate(1 / 60)) + 1)
    return str(histogram.encode().decode("ascii"))


def _stats(shape: Shape) -> tuple[dict[str, Any], ...]:
    refused = {"refused_limit": USERS - shape.open_most} if shape.error == "closed" else {}
    return (
        {
            "event": "stopped",
            "mono_ms": START_MS + 20_000,
            "open_peak": shape.open_most,
            "accepted": USERS,
            "errors": refused,
        },
    )


def _link(chance: random.Random) -> dict[str, Any]:
    def probe() -> dict[str, Any]:
        p50_ms = round(40.3 + chance.random() / 4, 3)
        return {
            "by": "icmp", "sent": 40, "lost": 0, "loss": 0.0,
            "rtt_ms": p50_ms + 0.1, "rtt_p50_ms": p50_ms, "rtt_p99_ms": p50_ms + 0.9, "rtt_deviation_ms": 0.2,
        }  # fmt: skip

    interfaces = ("server eth0", "worker-0 eth1", "worker-1 eth1")
    before = probe()
    counters = {
        "packets": 81_234,
        "dropped_queue": 0,
        "lateness_us": {"p50": 140, "p99": 610, "samples": 81_200},
    }
    return {
        "endpoints": ["swarm", "servers"], "backend": "delayline", "stamp": "delay: user space",
        "requested": {"delay_ms": 20.0},
        "configured": {name: {"delay_ms": 20.0, "limit_packets": 4000} for name in interfaces},
        "measured": {"asked_rtt_ms": 40.0, "asked_loss": 0.0, "loss": 0.0, "rtt_ms": before["rtt_ms"],
                     "before": before, "after": probe()},
        "counters": dict.fromkeys(interfaces, counters),
        "changes": [],
    }  # fmt: skip


def _samples(shape: Shape, load: LoadResult, chance: random.Random, users: int) -> Iterator[Sample]:
    ramp_ms, clock_ms = START_MS, load.phases.warmup
    moments = [START_MS - 500 + 1000 * step for step in range(int((clock_ms - START_MS) / 1000) + 13)]
    for at_ms in sorted({*moments, *load.window_ms}):
        opened = min(1.0, max(0.0, (at_ms - ramp_ms) / (1000 * users / 2000)))
        busy_s = min(max(0.0, (at_ms - clock_ms) / 1000), WARMUP_S + MEASURE_S)
        done = busy_s * RATE_PER_S * shape.answered_share
        yield from _at(shape, at_ms, opened, done, users, chance)


def _at(
    shape: Shape, at_ms: float, opened: float, done: float, users: int, chance: random.Random
) -> Iterator[Sample]:
    held = min(users, shape.open_most) * opened
    cpu_us = done * shape.cpu_us + held * 9
    memory = 21e6 + held * shape.memory_per_connection + chance.random() * 1e5
    wakeups = done / shape.ready
    sources: dict[str, dict[str, float]] = {
        "cgroup": {"cpu_us": cpu_us, "cpu_user_us": cpu_us * shape.user_share,
                   "cpu_system_us": cpu_us * (1 - shape.user_share), "memory_bytes": memory},
        "procfs": {"threads": 1 + (shape.threads - 1) * opened, "rss_bytes": 14e6 + held * 512,
                   "descriptors": 6 + held},
        "server": {"open": held, "open_peak": held, "requests": done, "wakeups": wakeups, "ready": done,
                   "eagain": done * shape.eagain, "signals": 0, "completions": 0,
                   "switches_voluntary": done * shape.switches, "switches_involuntary": done * 0.002},
        "sockets": {"established": held, "listen_overflows": shape.overflows * opened, "retransmits": 0},
        "syscalls": {name: done * share for name, share in dict(shape.syscalls).items()},
    }  # fmt: skip
    for source, metrics in sources.items():
        for metric, value in metrics.items():
            yield Sample(at_ms, "server", source, metric, value)


def write(run: Run, path: Path) -> None:
    """Write a run as the lab would."""
    folder = store.RunFolder(path)
    (path / store.TRIALS).mkdir(parents=True)
    folder.write("manifest.json", run.manifest.to_json())
    folder.write("plan.json", run.manifest.plan.to_json())
    for record in run.trials:
        home = folder.trial(record.key.folder)
        folder.write(f"{store.TRIALS}/{home.name}/record.json", record.to_json())
        file = store.SeriesFile(home / "series.csv")
        for (node, source, metric), points in record.series.points.items():
            file.append(Sample(mono_ms, node, source, metric, value) for mono_ms, value in points)
        file.close()


if __name__ == "__main__":
    shutil.rmtree(GOLDEN, ignore_errors=True)
    write(golden(), GOLDEN)
    print(f"wrote {GOLDEN.relative_to(ROOT)}")
