"""Many engines' records made one: exact sums of counters and histograms, in the shape of the contract.

A second is folded into the sums, and only its encoded form kept, as soon as every engine has told of it and
none of its requests is open any more: a soak of hours takes little more memory than a minute.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .histogram import Counts, encode, merge, quantile_us, unpack
from .ledger import BEFORE, COUNTERS, HISTOGRAMS

Record = dict[str, Any]
Key = tuple[int, str]  # k, phase
LOAD_PHASES = ("warmup", "measure")


class Sum:
    """Counters, errors and histograms added up over records."""

    def __init__(self) -> None:
        self.counters = dict.fromkeys(COUNTERS, 0)
        self.under_way_s = 0.0
        self.errors: dict[str, int] = {}
        self.histograms: dict[str, Counts] = {name: {} for name in HISTOGRAMS}
        self.parts: dict[str, Counts] = {}

    def add(self, record: Record) -> None:
        """Add one engine's second."""
        for name in COUNTERS:
            self.counters[name] += record[name]
        self.under_way_s += record["under_way_s"]
        merge(self.errors, record["errors"])
        for name in HISTOGRAMS:
            merge(self.histograms[name], unpack(record[name]))
        for name, packed in record["parts"].items():
            merge(self.parts.setdefault(name, {}), unpack(packed))

    def include(self, other: Sum) -> None:
        """Add another sum."""
        for name in COUNTERS:
            self.counters[name] += other.counters[name]
        self.under_way_s += other.under_way_s
        merge(self.errors, other.errors)
        for name in HISTOGRAMS:
            merge(self.histograms[name], other.histograms[name])
        for name, counts in other.parts.items():
            merge(self.parts.setdefault(name, {}), counts)

    def as_record(self) -> Record:
        """Return counters, errors and the encoded response and service times."""
        record = self.counters | {
            "errors": self.errors,
            "under_way_s": round(self.under_way_s, 6),
            "response_hdr": encode(self.histograms["response"]),
            "service_hdr": encode(self.histograms["service"]),
        }
        if self.parts:
            record["parts_hdr"] = {name: encode(counts) for name, counts in self.parts.items()}
        return record


class Collection:
    """The latest record of every second of every engine, folded when nothing more can come."""

    def __init__(self) -> None:
        self.engines = 0  # how many tell; known when the load starts
        self.done: dict[str, Record] = {}
        self.latest_response: Counts = {}  # of the newest second that all have told
        self._open: dict[Key, dict[str, Record]] = {}
        self._seconds: list[Record] = []
        self._sums: dict[str, Sum] = {}  # by phase
        self._lag: dict[str, Counts] = {}  # by engine

    def take(self, engine: str, record: Record) -> None:
        """Keep a `second` (the later replaces the former) or a `done` record."""
        if record["event"] == "done":
            self.done[engine] = record
        elif record["event"] == "second":
            key = (record["k"], record["phase"])
            told = self._open.setdefault(key, {})
            told[engine] = record
            if self.engines and len(told) == self.engines and record["phase"] in LOAD_PHASES:
                self._all_told(key, told)

    def _all_told(self, key: Key, told: Mapping[str, Record]) -> None:
        added = total(told.values())
        self.latest_response = added.histograms["response"]
        if all(is_settled(record) for record in told.values()):
            self._fold(key)

    def _fold(self, key: Key) -> None:
        told = self._open.pop(key)
        if key[1] in LOAD_PHASES:
            self._seconds.append(merged_second(key, told))
        for engine, record in told.items():
            self._sums.setdefault(key[1], Sum()).add(record)
            if record["k"] != BEFORE:  # the ramp has its own measure: how long connects took
                merge(self._lag.setdefault(engine, {}), unpack(record["loop_lag"]))

    def close(self) -> None:
        """Fold all that is still open: nothing more will come."""
        for key in list(self._open):
            self._fold(key)

    def seconds(self) -> list[Record]:
        """Return the merged seconds of the load clock, in order."""
        return sorted(self._seconds, key=lambda second: (second["k"], second["phase"] == "measure"))

    def window(self) -> Sum:
        """Return the sum over the measured window."""
        return self._sums.get("measure", Sum())

    def window_so_far(self) -> Sum:
        """Return the sum over what has been told of the measured window."""
        result = Sum()
        result.include(self.window())
        for (_, phase), told in self._open.items():
            if phase == "measure":
                result.include(total(told.values()))
        return result

    def whole(self) -> Sum:
        """Return the sum over all phases."""
        result = Sum()
        for each in self._sums.values():
            result.include(each)
        return result

    def loop_lag_p99_us(self, engines: Iterable[str]) -> int:
        """Return the worst 99th percentile of the loops of these engines, since the load clock started."""
        return max((quantile_us(self._lag.get(engine, {}), 0.99) or 0 for engine in engines), default=0)


def is_settled(record: Record) -> bool:
    """Whether every request meant for this second has had its outcome, and was told."""
    told = record["intended"] == record["answered"] + record["failed"] + record["unsent"]
    return bool(told and not record.get("more"))


def total(records: Iterable[Record]) -> Sum:
    """Add records up."""
    result = Sum()
    for record in records:
        result.add(record)
    return result


def merged_second(key: Key, told: Mapping[str, Record]) -> Record:
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
