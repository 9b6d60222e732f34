"""The truth about each link in one table: what was asked for, what was configured, what was seen.

Links asked for and configured alike share a row; what was measured is shown as its range over the trials.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lab.analysis.model import LinkSummary, Summary
from lab.report.text import NOTHING, clean, facts, plural

HEADINGS = ("link", "by", "requested", "configured", "measured", "in")
# Of a probe's figures these tell the link; the rest is in summary.json.
_LEFT_OUT = ("min", "mean", "max", "samples")


def rows(summary: Summary) -> list[list[str]]:
    """The cells under HEADINGS, in the order of the trials."""
    groups: dict[tuple[str, ...], list[LinkSummary]] = {}
    for link in summary.links:
        by = clean(f"{link.backend} ({link.stamp})" if link.stamp else link.backend)
        key = (clean(" – ".join(link.endpoints)), by, facts(link.requested), facts(link.configured))
        groups.setdefault(key, []).append(link)
    return [[*key, _measured(links), plural(len(links), "trial")] for key, links in groups.items()]


def _measured(links: list[LinkSummary]) -> str:
    figures: dict[str, list[float]] = {}
    words: dict[str, dict[str, None]] = {}
    for link in links:
        for name, value in sorted(_leaves("", link.measured), key=lambda leaf: leaf[0].count(" ")):
            if isinstance(value, int | float) and not isinstance(value, bool):
                figures.setdefault(name, []).append(value)
            else:
                words.setdefault(name, {})[clean(value)] = None
    parts = [f"{name} {_range(values)}" for name, values in figures.items()]
    parts += [f"{name} {' / '.join(texts)}" for name, texts in words.items()]
    return ", ".join(parts) or NOTHING


def _leaves(name: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for key, child in value.items():
            if key not in _LEFT_OUT:
                yield from _leaves(f"{name} {key}".strip(), child)
    elif value is not None:
        yield clean(name), value


def _range(values: list[float]) -> str:
    low, high = f"{min(values):.4g}", f"{max(values):.4g}"
    return low if low == high else f"{low} … {high}"
