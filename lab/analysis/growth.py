"""Sweeps as curves: a figure against the swept value, per server, and how it grows: not at all, or linearly.

Noise of a cost is proportional to it, so the line is fitted to relative errors (weighted least squares); its
slope has the interval of Student's t over trials. What no line describes is called neither: where
repeats of a place scatter less than the line misses; without repeats, where it grows or falls beyond doubt.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from lab.analysis.model import Curve, CurvePoint, Growth, GrowthLaw, ServerSummary, figure_of, is_lower_bound
from lab.common import units
from lab.common.figures import FIGURES

# A change of less than this over the whole sweep is none; a line that misses a point by more is no law.
FLAT_SHARE, MISS_SHARE = 0.10, 0.25
DOUBT = 0.05  # of the test whether a miss is more than the scatter of its trials
FEWEST_PLACES, FEWEST_TRIALS = 3, 4
_UNITS: Mapping[str, float] = {
    "": 1.0, "%": 0.01, "/s": 1.0, "/min": 1 / 60, **units.DURATION, **units.SIZE, **units.BANDWIDTH,
}  # fmt: skip


def curves(
    servers: Collection[ServerSummary], invalid: Collection[str], limited: Collection[str] = ()
) -> Iterator[Curve]:
    """Every figure of every server along every swept path whose values are numbers, over valid trials.

    Trials that were `limited` did not do what the swept value says: they are no points of the curve, unless
    all of a line are, whatever the value. A lower bound is no point either.
    """
    for path in dict.fromkeys(path for server in servers for path in server.point):
        lines: dict[tuple[str, tuple[tuple[str, str], ...]], list[tuple[float, ServerSummary]]] = {}
        for server in servers:
            x = position(server.point.get(path))
            if x is not None:
                others = tuple((name, str(value)) for name, value in server.point.items() if name != path)
                lines.setdefault((server.server, others), []).append((x, server))
        for (name, others), places in lines.items():
            yield from _of_line(name, path, dict(others), places, invalid, limited)


def position(value: object) -> float | None:
    """Where a swept value stands on an axis, in base units (common.units); None for what is no quantity."""
    found = _parsed(value)
    return None if found is None else found[0] * _UNITS[found[1]]


def unit(value: object) -> tuple[str, float]:
    """Return the unit that a swept value has, and its size in base units; bare numbers: `"", 1`."""
    found = _parsed(value)
    return ("", 1.0) if found is None else (found[1], _UNITS[found[1]])


def _parsed(value: object) -> tuple[float, str] | None:
    if isinstance(value, Mapping) and len(value) == 1:
        return _parsed(next(iter(value.values())))  # {file: 64KiB}
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value), ""
    match = re.fullmatch(r"(?:[a-z]+:)?(\d+(?:\.\d+)?)\s*([A-Za-z%/]*)", str(value).strip())
    if match is None or match[2] not in _UNITS:
        return None
    return float(match[1]), match[2]


def _of_line(
    server: str,
    path: str,
    others: dict[str, str],
    places: Sequence[tuple[float, ServerSummary]],
    invalid: Collection[str],
    limited: Collection[str],
) -> Iterator[Curve]:
    places = sorted(places, key=lambda place: place[0])
    limits = [x for x, one in places if any(f.trial in limited for f in one.per_trial)]
    if len(limits) == len(places):
        limits.clear()
    left_out = {*invalid, *limited} if limits else invalid
    for figure in (figure for figure in FIGURES if figure.swept):
        seen = {
            x: [
                value
                for f in one.per_trial
                if f.status == "ok"
                and f.trial not in left_out
                and not is_lower_bound(f, figure)
                and (value := figure_of(f, figure)) is not None
            ]
            for x, one in places
        }
        bounds = [x for x, one in places if any(is_lower_bound(f, figure) for f in one.per_trial)]
        seen = {x: values for x, values in seen.items() if values}
        if len(seen) > 1:
            yield Curve(
                server=server,
                path=path,
                at=others,
                metric=figure.name,
                unit=figure.unit,
                points=tuple(
                    CurvePoint(x=x, value=statistics.median(values), trials=len(values))
                    for x, values in seen.items()
                ),
                growth=growth(seen),
                limit_met_at=min(limits, default=None),
                lower_bound_at=min(bounds, default=None),
            )


@dataclass(frozen=True)
class Line:
    """value = start + slope × x, with the 95 % interval of the slope."""

    start: float
    slope: float
    interval: tuple[float, float]

    def at(self, x: float) -> float:
        """Its value."""
        return self.start + self.slope * x


def fit(seen: Mapping[float, Sequence[float]]) -> Line:
    """Fit the line of least errors, relative to the median of each place, through all trials.

    Raises ValueError for too few, or values of 0.
    """
    xs = [x for x, values in seen.items() for _ in values]
    ys = [value for values in seen.values() for value in values]
    if len(xs) < FEWEST_TRIALS or len(seen) < FEWEST_PLACES or min(ys) <= 0:
        raise ValueError(f"a line needs {FEWEST_PLACES} places, {FEWEST_TRIALS} trials, and values above 0")
    import numpy
    from scipy.stats import t

    weights = [1 / statistics.median(values) for values in seen.values() for _ in values]
    scale = max(map(abs, xs)) or 1.0  # x in units of its own range: the equations stay well-conditioned
    (slope, start), covariance = numpy.polyfit(numpy.divide(xs, scale), ys, 1, w=weights, cov=True)
    half = float(t.ppf(0.975, len(xs) - 2)) * math.sqrt(max(float(covariance[0, 0]), 0.0))
    low, high = float(slope) - half, float(slope) + half
    return Line(float(start), float(slope) / scale, (low / scale, high / scale))


def growth(seen: Mapping[float, Sequence[float]]) -> Growth | None:
    """Fit the law of growth over x → values of trials; None where there are too few to say."""
    try:
        line = fit(seen)
    except ValueError:
        return None
    first, last = min(seen), max(seen)
    start = line.at(first)
    if start <= 0:
        return Growth(law="neither", slope=line.slope, slope_ci95=line.interval, start=start)
    grown, low, high = ((last - first) * slope / start for slope in (line.slope, *line.interval))
    return Growth(
        law=_law(line, seen, low, high),
        slope=line.slope,
        slope_ci95=line.interval,
        start=start,
        grown=grown,
        grown_ci95=(low, high),
    )


def _law(line: Line, seen: Mapping[float, Sequence[float]], low: float, high: float) -> GrowthLaw:
    if low > -FLAT_SHARE and high < FLAT_SHARE:
        return "constant"
    changes = low > FLAT_SHARE or high < -FLAT_SHARE
    if _worst_miss(line, seen) > MISS_SHARE:
        explained = _explained(line, seen)
        if changes if explained is None else explained < DOUBT:
            return "neither"
    if not changes:
        return "undetermined"
    return "linear" if low > FLAT_SHARE else "falling"


def _worst_miss(line: Line, seen: Mapping[float, Sequence[float]]) -> float:
    """How far the line passes by the median of a place, at worst, as a share of it."""
    medians = {x: statistics.median(values) for x, values in seen.items()}
    return max(abs(line.at(x) - value) / value for x, value in medians.items())


def _explained(line: Line, seen: Mapping[float, Sequence[float]]) -> float | None:
    """How likely the scatter of each place's trials alone explains what the line misses: p of the F test.

    None where no place has two trials. Source: Draper and Smith, Applied Regression Analysis, on lack of fit
    and pure error.
    """
    from scipy.stats import f

    repeats = sum(len(values) - 1 for values in seen.values())
    if not repeats:
        return None
    missed = scattered = 0.0
    for x, values in seen.items():
        mean = statistics.fmean(values)
        missed += len(values) * ((mean - line.at(x)) / mean) ** 2
        scattered += sum(((value - mean) / mean) ** 2 for value in values)
    if not scattered:
        return 0.0 if missed else 1.0
    places = len(seen) - 2
    return float(f.sf(missed / places / (scattered / repeats), places, repeats))
