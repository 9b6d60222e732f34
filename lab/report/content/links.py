"""Each link in one row: requested, configured (read back), measured.

Links that are requested and configured alike share a row, with the range of what was measured in the trials.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lab.analysis.model import LinkSummary, Summary
from lab.report.content.text import NOTHING, clean, count, number, percent, plural
from lab.results.link import Directions, RoundTrips
from lab.scenario.impairment import Impairment

HEADINGS = (
    "link", "backend", "requested, each way", "configured", "round trip before the load: p50, p99 [ms]",
    "after the load: p50, p99 [ms]", "probes lost", "dropped by full queues",
    "lateness of the delay line, p99 [ms]", "trials",
)  # fmt: skip
# Suffixes of names, in the order they are tried, with how their values are written.
_UNITS = {"_ms": "ms", "_packets": "packets", "_bit_per_s": "bit/s"}
_SHARES = ("loss", "corrupt", "duplicate", "reorder", "correlation")


def rows(summary: Summary) -> list[list[str]]:
    """Return the cells under HEADINGS, in the order of the trials."""
    together: dict[tuple[str, ...], list[LinkSummary]] = {}
    for link in summary.links:
        backend = clean(f"{link.backend} ({link.stamp})" if link.stamp else link.backend)
        key = (clean(link.name), backend, requested_words(link.requested), _configured(link.configured))
        together.setdefault(key, []).append(link)
    return [[*key, *_measured(links), plural(len(links), "trial")] for key, links in together.items()]


def requested_words(requested: Directions) -> str:
    """`delay 20 ms`; where the directions differ, `there: delay 20 ms, back: delay 5 ms`."""
    there, back = map(words, requested)
    return there if there == back else f"there: {there}, back: {back}"


def words(impairment: Impairment) -> str:
    """`Impairment(delay_ms=20, loss=0.01)` → `delay 20 ms, loss 1.00 %`; a dash for none."""
    fields = {name: value for name, value in impairment.to_json().items() if name != "seed"}
    return ", ".join(_word(name, value) for name, value in fields.items()) or NOTHING


def _word(name: str, value: object) -> str:
    if not isinstance(value, int | float):
        return f"{name} {clean(value)}"
    if name.endswith(_SHARES):
        return f"{name} {percent(value)}"
    for suffix, unit in _UNITS.items():
        if name.endswith(suffix):
            return f"{name.removesuffix(suffix)} {value:,g} {unit}"
    return f"{name} {value:,g}"


def _configured(configured: Mapping[str, Impairment]) -> str:
    """Interfaces with the same impairment are named together."""
    alike: dict[str, list[str]] = {}
    for place, impairment in configured.items():
        alike.setdefault(words(impairment), []).append(clean(place))
    return "; ".join(f"{text} on {', '.join(places)}" for text, places in alike.items()) or NOTHING


def _measured(links: list[LinkSummary]) -> list[str]:
    before = [link.measured.before for link in links if link.measured.before]
    after = [link.measured.after for link in links if link.measured.after]
    counters = [counted for link in links for counted in link.counters.values()]
    drops = [counted.dropped_queue for counted in counters if counted.dropped_queue is not None]
    late_us = [counted.lateness_us.p99 for counted in counters if counted.lateness_us]
    return [
        _round_trip(before),
        _round_trip(after),
        _range([100 * probe.loss for probe in (*before, *after)], " %"),
        count(sum(drops)) if drops else NOTHING,
        _range([p99 / 1000 for p99 in late_us if p99 is not None]),
    ]


def _round_trip(probes: list[RoundTrips]) -> str:
    p50, p99 = [probe.rtt_p50_ms for probe in probes], [probe.rtt_p99_ms for probe in probes]
    return f"{_range(p50)}, {_range(p99)}"


def _range(values: Iterable[float | None], unit: str = "") -> str:
    known = [value for value in values if value is not None]
    if not known:
        return NOTHING
    low, high = number(min(known)), number(max(known))
    return (low if low == high else f"{low} … {high}") + unit
