"""The truth about each link in one table: what was asked for, what was configured, what was seen.

Links asked for and configured alike share a row; what was measured is shown as its range over the trials.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lab.analysis.model import LinkSummary, Summary
from lab.report.content.text import NOTHING, clean, count, number, percent, plural

HEADINGS = (
    "link", "by", "asked, each way", "configured", "round trip before the load: p50, p99 [ms]",
    "after the load: p50, p99 [ms]", "probes lost", "dropped by full queues",
    "lateness of the line, p99 [ms]", "seen in",
)  # fmt: skip
# Suffixes of names, in the order they are tried, with how their values are written.
_UNITS = {"_ms": "ms", "_us": "µs", "_packets": "packets", "_bit_per_s": "bit/s"}
_SHARES = ("loss", "corrupt", "duplicate", "reorder", "correlation")


def rows(summary: Summary) -> list[list[str]]:
    """The cells under HEADINGS, in the order of the trials."""
    together: dict[tuple[str, ...], list[LinkSummary]] = {}
    for link in summary.links:
        by = clean(f"{link.backend} ({link.stamp})" if link.stamp else link.backend)
        key = (clean(" – ".join(link.endpoints)), by, words(link.requested), _configured(link.configured))
        together.setdefault(key, []).append(link)
    return [[*key, *_measured(links), plural(len(links), "trial")] for key, links in together.items()]


def words(settings: Mapping[str, Any]) -> str:
    """`{"delay_ms": 20.0, "loss": 0.01}` → `delay 20 ms, loss 1.00 %`."""
    return ", ".join(_word(name, value) for name, value in settings.items() if value is not None) or NOTHING


def _word(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{clean(name)}: {words(value)}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"{clean(name)} {clean(value)}"
    if name.endswith(_SHARES):
        return f"{clean(name)} {percent(value)}"
    for suffix, unit in _UNITS.items():
        if name.endswith(suffix):
            return f"{clean(name.removesuffix(suffix))} {value:,g} {unit}"
    return f"{clean(name)} {value:,g}"


def _configured(configured: Mapping[str, Any]) -> str:
    """Interfaces that are set alike are named together."""
    if not configured or not all(isinstance(value, Mapping) for value in configured.values()):
        return words(configured)
    alike: dict[str, list[str]] = {}
    for interface, settings in configured.items():
        alike.setdefault(words(settings), []).append(clean(interface))
    return "; ".join(f"{setting} on {', '.join(interfaces)}" for setting, interfaces in alike.items())


def _measured(links: list[LinkSummary]) -> list[str]:
    before, after = ([link.measured.get(when) or {} for link in links] for when in ("before", "after"))
    counters = [each for link in links for each in link.counters.values() if isinstance(each, Mapping)]
    drops = [each["dropped_queue"] for each in counters if each.get("dropped_queue") is not None]
    late = [each["lateness_us"]["p99"] for each in counters if (each.get("lateness_us") or {}).get("p99")]
    losses = [probe.get("loss") for probe in (*before, *after)]
    return [
        _round_trip(before),
        _round_trip(after),
        _range([100 * loss for loss in losses if loss is not None], " %"),
        count(sum(drops)) if drops else NOTHING,
        _range([value / 1000 for value in late]),
    ]


def _round_trip(probes: list[Mapping[str, Any]]) -> str:
    levels = ([p[name] for p in probes if p.get(name) is not None] for name in ("rtt_p50_ms", "rtt_p99_ms"))
    return ", ".join(_range(values) for values in levels)


def _range(values: Iterable[float], unit: str = "") -> str:
    known = list(values)
    if not known:
        return NOTHING
    low, high = number(min(known)), number(max(known))
    return (low if low == high else f"{low} … {high}") + unit
