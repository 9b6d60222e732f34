"""Merge the records of many engines: exact sums of counters and histograms, in the shape of the contract.

A second is folded into the sums, and only its encoded form kept, as soon as every engine has reported it
and all its requests have their outcome: a soak of hours takes little more memory than a minute.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from .histogram import Counts, encode, merge, quantile_us, unpack
from .seconds import BEFORE_START, COUNTERS, HISTOGRAMS, TENTHS

Record = dict[str, Any]
Key = tuple[int, str]  # k, phase
N = TypeVar("N", int, float)
LOAD_PHASES = ("warmup", "measure", "cooldown")


class Totals:
    """Sums of counters, errors and histograms."""

    def __init__(self) -> None:
        self.counters = dict.fromkeys(COUNTERS, 0)
        self.errors: dict[str, int] = {}
        self.histograms: dict[str, Counts] = {name: {} for name in HISTOGRAMS}
        self.parts: dict[str, Counts] = {}

    def add(self, record: Record) -> None:
        """Add one `second` record."""
        for name in COUNTERS:
            self.counters[name] += record[name]
        merge(self.errors, record["errors"])
        for name in HISTOGRAMS:
            merge(self.histograms[name], unpack(record[name]))
        for name, packed in record["parts"].items():
            merge(self.parts.setdefault(name, {}), unpack(packed))

    def add_totals(self, other: Totals) -> None:
        """Add other totals."""
        for name in COUNTERS:
            self.counters[name] += other.counters[name]
        merge(self.errors, other.errors)
        for name in HISTOGRAMS:
            merge(self.histograms[name], other.histograms[name])
        for name, counts in other.parts.items():
            merge(self.parts.setdefault(name, {}), counts)

    def as_record(self) -> Record:
        """Return the JSON form: counters, errors, encoded response and service times."""
        record = self.counters | {
            "errors": self.errors,
            "response_hdr": encode(self.histograms["response"]),
            "service_hdr": encode(self.histograms["service"]),
            "response_censored_hdr": encode(self.histograms["response_censored"]),
            "service_censored_hdr": encode(self.histograms["service_censored"]),
        }
        if self.parts:
            record["parts_hdr"] = {name: encode(counts) for name, counts in self.parts.items()}
        return record


class EngineRecords:
    """The latest record of every second of every engine; folded into sums when no more can come."""

    def __init__(self) -> None:
        self.engines = 0  # how many report; set when the load starts
        self.done: dict[str, Record] = {}
        self.latest_response: Counts = {}  # of the newest second that all engines have reported
        self._open: dict[Key, dict[str, Record]] = {}
        self._seconds: list[Record] = []
        self._sums: dict[str, Totals] = {}  # by phase
        self._lag: dict[str, Counts] = {}  # by engine

    def add(self, engine: str, record: Record) -> None:
        """Keep a `second` record (a later one replaces the former) or a `done` record."""
        if record["event"] == "done":
            self.done[engine] = record
        elif record["event"] == "second":
            key = (record["k"], record["phase"])
            by_engine = self._open.setdefault(key, {})
            by_engine[engine] = record
            if self.engines and len(by_engine) == self.engines and record["phase"] in LOAD_PHASES:
                self._complete(key, by_engine)

    def _complete(self, key: Key, by_engine: Mapping[str, Record]) -> None:
        added = totals(by_engine.values())
        self.latest_response = added.histograms["response"]
        if all(is_settled(record) for record in by_engine.values()):
            self._fold(key)

    def _fold(self, key: Key) -> None:
        by_engine = self._open.pop(key)
        if key[1] in LOAD_PHASES:
            self._seconds.append(merged_second(key, by_engine))
        for engine, record in by_engine.items():
            self._sums.setdefault(key[1], Totals()).add(record)
            if record["k"] != BEFORE_START:  # the ramp is measured by its connect times
                merge(self._lag.setdefault(engine, {}), unpack(record["loop_lag"]))

    def finish(self) -> None:
        """Fold what is still open: no more records will come."""
        for key in list(self._open):
            self._fold(key)

    def seconds(self) -> list[Record]:
        """Return the merged seconds of the load clock, in order."""
        return sorted(self._seconds, key=lambda second: (second["k"], LOAD_PHASES.index(second["phase"])))

    def under_way(self) -> Record:
        """Return what was under way at both ends of the window, and Little's law over it in both books.

        Nothing was under way before the load clock started.
        """
        seconds, nothing = self.seconds(), {"in_flight": 0, "queued": 0}
        last = {phase: [s for s in seconds if s["phase"] == phase][-1:] for phase in LOAD_PHASES}
        before, after = last["warmup"] or [nothing], last["measure"] or [nothing]
        ends = {"start": before[0], "end": after[0]}
        found = {f"{name}_{end}": second[name] for end, second in ends.items() for name in nothing}
        window = [second["in_flight_area_s"] for second in seconds if second["phase"] == "measure"]
        parts = [record.get("in_flight_parts_s") for record in self.done.values()]
        return found | {"in_flight_area_s": _sum(window), "in_flight_parts_s": _sum(parts)}

    def window(self) -> Totals:
        """Return the totals of the measured window."""
        return self._sums.get("measure", Totals())

    def window_so_far(self) -> Totals:
        """Return the totals of what has been reported of the measured window."""
        result = Totals()
        result.add_totals(self.window())
        for (_, phase), by_engine in self._open.items():
            if phase == "measure":
                result.add_totals(totals(by_engine.values()))
        return result

    def all_phases(self) -> Totals:
        """Return the totals of all phases."""
        result = Totals()
        for each in self._sums.values():
            result.add_totals(each)
        return result

    def loop_lag_p99_us(self, engines: Iterable[str]) -> int:
        """Return the highest p99 of these engines' loop lag since the load started; 0 without samples."""
        return max((quantile_us(self._lag.get(engine, {}), 0.99) or 0 for engine in engines), default=0)


def is_settled(record: Record) -> bool:
    """Whether every request of this second has its outcome and no more can come (`more`)."""
    complete = record["intended"] == record["answered"] + record["failed"] + record["unsent"]
    return bool(complete and not record.get("more"))


def totals(records: Iterable[Record]) -> Totals:
    """Return the totals of `second` records."""
    result = Totals()
    for record in records:
        result.add(record)
    return result


def merged_second(key: Key, by_engine: Mapping[str, Record]) -> Record:
    """Return the `second` event of the contract."""
    added = totals(by_engine.values())
    in_order = [by_engine[engine] for engine in sorted(by_engine)]
    return {
        "k": key[0],
        "phase": key[1],
        **added.as_record(),
        "connected": sum(record["connected"] for record in in_order),
        "in_flight": _sum(record["in_flight"] for record in in_order),
        "queued": _sum(record["queued"] for record in in_order),
        **{name: _tenths([record[name] for record in in_order]) for name in TENTHS},
        "lateness_hdr": encode(added.histograms["lateness"]),
        "lateness_generator_hdr": encode(added.histograms["lateness_generator"]),
        "in_flight_area_s": _sum(record["in_flight_area_s"] for record in in_order),
        "lost_s": [record["lost_s"] for record in in_order],
        "late_p99_us": quantile_us(added.histograms["lateness"], 0.99),
        "loop_lag_p99_us": quantile_us(added.histograms["loop_lag"], 0.99),
        "cpu_cores": [round(r["cpu_s"] / r["length_s"], 4) if r["length_s"] else 0.0 for r in in_order],
    }


def _sum(values: Iterable[N | None]) -> N | None:
    """Return a sum; None if any of its parts is unknown."""
    total: Any = 0
    for value in values:
        if value is None:
            return None
        total += value
    return total  # type: ignore[no-any-return]


def _tenths(each: Sequence[Sequence[int | None]]) -> list[int | None]:
    """Return the sums over engines, tenth by tenth; None where one of them has no sample."""
    sums: list[int | None] = []
    for samples in zip(*each, strict=False):
        known = [sample for sample in samples if sample is not None]
        sums.append(sum(known) if len(known) == len(samples) else None)
    return sums


def merged_faults(done: Iterable[Record]) -> dict[str, Record]:
    """Return errors by kind: count, first and last time, one example."""
    merged: dict[str, Record] = {}
    for record in done:
        for kind, fault in record["faults"].items():
            known = merged.setdefault(kind, dict(fault, count=0))
            known["count"] += fault["count"]
            known["first_mono_ms"] = min(known["first_mono_ms"], fault["first_mono_ms"])
            known["last_mono_ms"] = max(known["last_mono_ms"], fault["last_mono_ms"])
    return merged
