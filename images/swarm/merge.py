"""Many engines' records made one: exact sums of counters and histograms, in the shape of the contract."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .histogram import Counts, encode, merge, quantile_us, unpack
from .ledger import COUNTERS, HISTOGRAMS

Record = dict[str, Any]
LOAD_PHASES = ("warmup", "measure")
CONTRACT_HISTOGRAMS = {"response_hdr": "response", "service_hdr": "service"}


class Sum:
    """Counters, errors and histograms added up over records."""

    def __init__(self) -> None:
        self.counters = dict.fromkeys(COUNTERS, 0)
        self.errors: dict[str, int] = {}
        self.histograms: dict[str, Counts] = {name: {} for name in HISTOGRAMS}

    def add(self, record: Record) -> None:
        """Add one engine's second."""
        for name in COUNTERS:
            self.counters[name] += record[name]
        merge_counts(self.errors, record["errors"])
        for name in HISTOGRAMS:
            merge(self.histograms[name], unpack(record[name]))

    def as_record(self) -> Record:
        """Return counters, errors and the encoded response and service times."""
        encoded = {key: encode(self.histograms[name]) for key, name in CONTRACT_HISTOGRAMS.items()}
        return self.counters | {"errors": self.errors} | encoded


class Collection:
    """The latest record of every second of every engine, and their `done` records."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[int, str], dict[str, Record]] = {}
        self.done: dict[str, Record] = {}

    def take(self, engine: str, record: Record) -> None:
        """Keep a `second` (the later replaces the former) or a `done` record."""
        if record["event"] == "done":
            self.done[engine] = record
        elif record["event"] == "second":
            self._seconds.setdefault((record["k"], record["phase"]), {})[engine] = record

    def latest(self, engines: int) -> Sum | None:
        """Return the sum of the newest load second that all engines have told of."""
        whole = [key for key, told in self._seconds.items() if len(told) == engines and key[1] in LOAD_PHASES]
        return total(self._seconds[max(whole)].values()) if whole else None

    def seconds(self) -> list[Record]:
        """Return the merged seconds of the load clock, in order."""
        return [
            merged_second(key, self._seconds[key])
            for key in sorted(self._seconds, key=lambda key: (key[0], key[1] == "measure"))
            if key[1] in LOAD_PHASES
        ]

    def sum(self, phases: Sequence[str] | None = None) -> Sum:
        """Return the sum over the given phases, or over all."""
        return total(
            r for key, told in self._seconds.items() if not phases or key[1] in phases for r in told.values()
        )

    def of_engine(self, engine: str) -> Sum:
        """Return the sum over one engine's seconds."""
        return total(told[engine] for told in self._seconds.values() if engine in told)


def total(records: Iterable[Record]) -> Sum:
    """Add records up."""
    result = Sum()
    for record in records:
        result.add(record)
    return result


def merge_counts(into: dict[str, int], other: Mapping[str, int]) -> None:
    """Add `other` to `into`."""
    for key, count in other.items():
        into[key] = into.get(key, 0) + count


def merged_second(key: tuple[int, str], told: Mapping[str, Record]) -> Record:
    """Return the contract's `second`."""
    added = total(told.values())
    in_order = [told[engine] for engine in sorted(told)]
    return {
        "k": key[0],
        "phase": key[1],
        **added.as_record(),
        "connected": sum(record["connected"] for record in in_order),
        "in_flight": sum(record["in_flight"] for record in in_order),
        "late_p99_us": quantile_us(added.histograms["lateness"], 0.99),
        "loop_lag_p99_us": quantile_us(added.histograms["loop_lag"], 0.99),
        "cpu_cores": [round(r["cpu_s"] / r["length_s"], 4) if r["length_s"] else 0.0 for r in in_order],
    }


def merged_faults(done: Iterable[Record]) -> dict[str, Record]:
    """Return errors by kind: count, first and last seen, one example."""
    merged: dict[str, Record] = {}
    for record in done:
        for kind, fault in record["faults"].items():
            known = merged.setdefault(kind, dict(fault, count=0))
            known["count"] += fault["count"]
            known["first_mono_ms"] = min(known["first_mono_ms"], fault["first_mono_ms"])
            known["last_mono_ms"] = max(known["last_mono_ms"], fault["last_mono_ms"])
    return merged
