"""The `result` and `progress` events of the contract."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .histogram import Counts, encode, quantile_us
from .merge import EngineRecords, Record, merged_faults
from .settings import Settings

ENGINE_TIMING = {"source": "engine", "resolution_us": 1, "response_from": "intended send"}
LOCUSTFILE_TIMING = {
    "source": "locust users",
    "resolution_us": 1,
    "response_from": "actual send, by Locust's clock, the scheduling delays of its greenlets included",
}
PROGRESS = ("users", "connected", "sent", "answered", "failed", "in_flight")


class Statuses:
    """The latest status of each engine, by its name `worker:engine` (two numbers)."""

    def __init__(self) -> None:
        self.by_engine: dict[str, Record] = {}
        self.connected_peak = 0

    def add(self, engine: str, record: Record) -> None:
        """Keep a `status` or a `done` record."""
        self.by_engine[engine] = record
        self.connected_peak = max(self.connected_peak, self.sum("connected"))

    def sum(self, key: str) -> int:
        """Return the sum of a figure over all engines."""
        return sum(status[key] for status in self.by_engine.values())

    def engines_with_users(self) -> list[str]:
        """Return the engines that have users, and so a share of the load, in order."""
        return sorted((e for e, status in self.by_engine.items() if status["users"] > 0), key=engine_key)

    def progress(self, response: Counts, requests_per_s: float) -> Record:
        """Return the fields of a `progress` event."""
        return {
            **{key: self.sum(key) for key in PROGRESS},
            "requests_per_s": round(requests_per_s, 1),
            "response_p50_ms": _ms(quantile_us(response, 0.50)),
            "response_p99_ms": _ms(quantile_us(response, 0.99)),
        }


def engine_key(engine: str) -> tuple[int, ...]:
    """Return (worker, engine) of an engine's name, for sorting."""
    return tuple(int(part) for part in engine.split(":"))


def build(
    settings: Settings,
    records: EngineRecords,
    statuses: Statuses,
    *,
    start_s: float,
    pids: Mapping[int, int],
    locust: Any,
) -> Record:
    """Return the `result`: figures of the window and of all phases, workers, errors, Locust's own counts."""
    window, whole = records.window(), records.all_phases()
    begins_s = start_s + settings.warmup_s
    return {
        **window.as_record(),
        **records.under_way(),
        "lateness_hdr": encode(window.histograms["lateness"]),
        "lateness_generator_hdr": encode(window.histograms["lateness_generator"]),
        "connect_ms_hdr": encode(whole.histograms["connect"]),
        "window_mono_ms": [begins_s * 1e3, (begins_s + settings.measure_s) * 1e3],
        "whole": whole.as_record(),
        "connected_peak": statuses.connected_peak,
        "late_p99_us": quantile_us(window.histograms["lateness"], 0.99),
        "loop_lag_p99_us": quantile_us(window.histograms["loop_lag"], 0.99),
        "workers": [_worker(index, pids[index], records) for index in sorted(pids)],
        "errors": merged_faults(records.done.values()),
        "locust": {"requests": locust.num_requests, "failures": locust.num_failures},
        "slow": {"answered": statuses.sum("slow_answered"), "ended": statuses.sum("slow_ended")},
        "timing": LOCUSTFILE_TIMING if settings.locustfile else ENGINE_TIMING,
    }


def _worker(index: int, pid: int, records: EngineRecords) -> Record:
    engines = [engine for engine in records.done if engine_key(engine)[0] == index]
    done = [records.done[engine] for engine in engines]
    return {
        "index": index,
        "pid": pid,
        "engine_pids": [record["pid"] for record in done],
        "cpu_user_us": _sum(done, "cpu_user_us") + _sum(done, "worker_cpu_user_us"),
        "cpu_system_us": _sum(done, "cpu_system_us") + _sum(done, "worker_cpu_system_us"),
        "loop_lag_p99_us": records.loop_lag_p99_us(engines),
        **{key: _sum(done, key) for key in ("connected", "sent", "answered", "failed")},
    }


def _sum(records: Iterable[Record], key: str) -> int:
    return sum(record.get(key, 0) for record in records)


def _ms(us: int | None) -> float | None:
    return None if us is None else us / 1e3
