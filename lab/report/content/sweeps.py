"""Sweeps: each figure of a server against the value that was swept, as chart data; its growth in words."""

from __future__ import annotations

from typing import Any, NamedTuple

from lab.analysis.growth import position, unit
from lab.analysis.model import (
    Curve,
    Growth,
    GrowthLaw,
    ServerSummary,
    Summary,
    at_limit,
    is_lower_bound,
    why_bound,
)
from lab.common.figure import Figure
from lab.common.figures import BY_NAME, FIGURES
from lab.report.content.text import NOTHING, capital, clean, measured, number, shown, size

HEADINGS = ("server", "figure", "against", "from", "to", "growth", "over the sweep", "95 % interval")
SWEPT = tuple(figure for figure in FIGURES if figure.swept)
LAWS: dict[GrowthLaw | None, str] = {
    "constant": "does not grow",
    "linear": "grows linearly",
    "falling": "falls",
    "neither": "changes, but not linearly",
    "undetermined": "undecided: the trials scatter too much",
    None: "not fitted: too few values or trials",
}


def sweep(summary: Summary) -> dict[str, Any] | None:
    """None without a sweep; wants servers in order. The first path is the axis, further ones split lines."""
    paths = list(dict.fromkeys(path for server in summary.servers.values() for path in server.point))
    if not paths:
        return None
    end = {(curve.server, curve.path) for curve in summary.curves if curve.limit_met_at is not None}
    rows = [
        _row(server, paths)
        for server in summary.servers.values()
        if measured(server) and not ((server.server, paths[0]) in end and at_limit(server))
    ]
    numeric = all(row["x"] is not None for row in rows)
    figures = [_chart(figure) for figure in SWEPT]
    return {"path": paths[0], "numeric": numeric, "rows": rows, "figures": figures}


def _chart(figure: Figure) -> dict[str, Any]:
    """Return the key of a figure in rows, the title of its chart, and how much one unit of its axis is."""
    unit, size_of_unit = ("KiB", 1024) if figure.unit == "B" else (figure.unit, 1)
    return {"key": figure.name, "title": f"{capital(figure.noun)} [{unit}]", "unit": size_of_unit}


def _row(server: ServerSummary, paths: list[str]) -> dict[str, Any]:
    split = "".join(f", {path.rsplit('.', 1)[-1]} {server.point.get(path)}" for path in paths[1:])
    value = server.point.get(paths[0])
    return {
        "label": server.server + split,
        "x": position(value),
        "value": str(value),
        **{f.name: None if is_lower_bound(server, f) else shown(server, f) for f in SWEPT},
    }


class Scale(NamedTuple):
    """In what a swept path was written: its name, and how many base units it is."""

    name: str
    size: float

    def show(self, x: float) -> str:
        """`80 ms` of a position of 0.08."""
        return f"{x / self.size:,.10g} {self.name}".strip()


FACTOR_FROM = 10  # a change of at least this factor is written as one
BARE = Scale("", 1.0)


def _units(summary: Summary) -> dict[str, Scale]:
    """Return the unit of each swept path: of the first value that was measured."""
    points = [server.point for server in summary.servers.values()]
    return {path: Scale(*unit(point[path])) for point in reversed(points) for path in point}


def laws(summary: Summary) -> list[list[str]]:
    """Return the cells under HEADINGS, a row for every curve."""
    units = _units(summary)
    return [
        [
            _label(curve),
            BY_NAME[curve.metric].noun,
            clean(curve.path),
            _at(curve, 0, units.get(curve.path, BARE)),
            _to(curve, units.get(curve.path, BARE)),
            LAWS[curve.growth.law if curve.growth else None],
            *_grown(curve.growth),
        ]
        for curve in summary.curves
    ]


def law_sentences(summary: Summary) -> list[str]:
    """For each figure along each swept path: which servers follow which law of growth."""
    units = _units(summary)
    groups: dict[tuple[str, str], dict[GrowthLaw, list[str]]] = {}
    for curve in summary.curves:
        if curve.growth is not None:
            of_law = groups.setdefault((curve.metric, curve.path), {})
            of_law.setdefault(curve.growth.law, []).append(
                _told(curve, curve.growth, units.get(curve.path, BARE))
            )
    return [
        f"Against {clean(path)} the {BY_NAME[metric].noun} "
        + "; ".join(f"{LAWS[law]} for {', '.join(of_law[law])}" for law in LAWS if law in of_law)
        + "."
        for (metric, path), of_law in groups.items()
    ]


def _told(curve: Curve, growth: Growth, against: Scale) -> str:
    """`select (+0.031 µs each)` where a line says how much each unit costs, else the name alone."""
    if growth.law != "linear":
        return _label(curve)
    per = f"per {against.name}" if against.name else "each"
    return f"{_label(curve)} ({growth.slope * against.size:+.2g} {curve.unit} {per})"


def _label(curve: Curve) -> str:
    others = "".join(f", {path.rsplit('.', 1)[-1]} {value}" for path, value in curve.at.items())
    return clean(curve.server + others)


def _at(curve: Curve, place: int, against: Scale) -> str:
    """`31.2 µs at 10`, `160 ms at 80 ms`."""
    point = curve.points[place]
    value = size(point.value) if curve.unit == "B" else f"{number(point.value)} {curve.unit}"
    return f"{value} at {against.show(point.x)}"


def _to(curve: Curve, against: Scale) -> str:
    """`442 µs at 1,000; it reached its limit at 3,000`."""
    met, bound = curve.limit_met_at, curve.lower_bound_at
    told = _at(curve, -1, against) + ("" if met is None else f"; it reached its limit at {against.show(met)}")
    return told if bound is None else f"{told}; {why_bound(curve.metric)} at {against.show(bound)}"


def _grown(growth: Growth | None) -> tuple[str, str]:
    """`+210%` and `+190% … +230%`: the line over the whole sweep, as a share of its start."""
    if growth is None or growth.grown is None or growth.grown_ci95 is None:
        return NOTHING, NOTHING
    low, high = growth.grown_ci95
    return change(growth.grown), f"{change(low)} … {change(high)}"


def change(share: float) -> str:
    """`+34%`, `0%`; `×117` from tenfold on."""
    if share >= FACTOR_FROM - 1:
        return f"×{number(share + 1)}"
    told = f"{share:+.0%}"
    return "0%" if told in ("+0%", "-0%") else told
