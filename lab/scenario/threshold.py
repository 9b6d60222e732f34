"""Thresholds over metrics, in the grammar of k6 with units: `p(99)<100ms`, `rate<0.1%`, `value>=9/s`.

Source of the grammar: k6, "Thresholds".
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lab.common import units
from lab.common.figures import FIGURES
from lab.scenario.strict import unknown

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "===": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
_GRAMMAR = re.compile(r"([a-z]+)(?:\(([^)]*)\))?\s*(<=|>=|===|==|!=|<|>)\s*(\S.*)")


# A threshold as a scenario has it: its text, or the text with options.
Condition = str | dict[str, str | bool]
# By server, then by metric.
Thresholds = Mapping[str, Mapping[str, Sequence[Condition]]]


@dataclass(frozen=True)
class Quantity:
    """The unit of a metric: an example of a bound, how a bound is read, how a figure is shown."""

    example: str
    read: Callable[[str], float]
    show: Callable[[float], str]


def _count(text: str) -> float:
    if not re.fullmatch(r"\d+(?:\.\d+)?", text.strip()):
        raise ValueError(f"{text!r} is not a number: write it like 1000, without a unit")
    return float(text)


MS = Quantity("100ms", lambda text: units.seconds(text) * 1e3, "{:.4g} ms".format)
US = Quantity("20us", lambda text: units.seconds(text, likely="us") * 1e6, "{:.4g} µs".format)


def _share(text: str) -> float:
    """Read a share. A bare number may be one of k6 (0.01 is 1 %), or a percentage without its sign."""
    bare = re.fullmatch(r"\d+(?:\.\d+)?", text.strip())
    if bare and float(text) <= 1:
        percent = f"{float(text) * 100:.10g}"
        raise ValueError(
            f"{text} has no unit: write {percent}% if it is a share of 1 (as in k6), else {text}%"
        )
    return units.share(text)


SHARE = Quantity("0.1%", _share, "{:.3%}".format)
PER_S = Quantity("1000/s", units.arrivals_per_s, "{:,.1f}/s".format)
BYTES = Quantity("64KiB", lambda text: units.size_bytes(text, likely="B"), "{:,.0f} bytes".format)
NUMBER = Quantity("1000", _count, "{:,.6g}".format)

# Distributions of times and their histograms. `latency` is the response time, from the intended send.
TIMES = {
    "latency": "response_hdr",
    "response": "response_hdr",
    "service": "service_hdr",
    "connect": "connect_ms_hdr",
}
_QUANTITIES = {"/s": PER_S, "ms": MS, "share": SHARE, "µs": US, "B": BYTES, "": NUMBER}
# Figures that are one number per trial: their aggregate is `value`.
FIGURE_WORDS = {figure.threshold or figure.name: figure for figure in FIGURES if not figure.field}
VALUES = {word: _QUANTITIES[figure.unit] for word, figure in FIGURE_WORDS.items()}
METRICS = (*TIMES, "errors", *VALUES)


@dataclass(frozen=True)
class Threshold:
    """One condition on a metric. `bound` is in the unit of the metric's figures (ms, µs, share, bytes, 1/s).

    With `abort_on_fail` a failed condition ends the run, at the earliest `delay_s` after the window begins.
    """

    metric: str
    aggregate: str
    compare: str
    bound: float
    text: str
    percentile: float | None = None
    abort_on_fail: bool = False
    delay_s: float = 0.0

    def holds(self, value: float) -> bool:
        """Tell whether a figure satisfies the condition."""
        return OPERATORS[self.compare](value, self.bound)

    def holds_from(self, value: float) -> bool | None:
        """Tell whether every figure from a lower bound on satisfies it; None where only some do."""
        if self.compare in ("==", "===", "!=") and value <= self.bound:
            return None
        least, most = self.holds(value), self.holds(math.inf)
        return least if least is most else None

    @property
    def is_upper(self) -> bool:
        """Whether the bound is an upper bound."""
        return self.compare in ("<", "<=")

    def shown(self, value: float) -> str:
        """Format a figure of the metric with its unit."""
        return _aggregates(self.metric)["p(N)" if self.percentile else self.aggregate].show(value)


def parse(metric: str, text: str, abort_on_fail: bool = False, delay_s: float = 0.0) -> Threshold:
    """Parse one threshold of a metric. Raises ValueError that shows the right form."""
    if metric not in METRICS:
        raise ValueError(unknown(metric, list(METRICS), "metric"))
    known = _aggregates(metric)
    example = f"{next(iter(known)).replace('N', '99')}<{next(iter(known.values())).example}"
    match = _GRAMMAR.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a threshold: write it like {example!r}")
    word, argument, compare, bound = match.groups()
    name = f"{word}(N)" if argument is not None else word
    if name not in known:
        raise ValueError(f"{text!r}: unknown aggregate {name}; {metric} has {', '.join(known)}")
    percentile = _percentile(text, argument) if argument is not None else None
    try:
        value = known[name].read(bound)
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}") from None
    aggregate = f"p({percentile:g})" if percentile is not None else word
    return Threshold(metric, aggregate, compare, value, text.strip(), percentile, abort_on_fail, delay_s)


def _aggregates(metric: str) -> dict[str, Quantity]:
    if metric in TIMES:
        times = dict.fromkeys(("p(N)", "avg", "med", "min", "max"), MS)
        return {**times, "count": NUMBER}
    return {"rate": SHARE, "count": NUMBER} if metric == "errors" else {"value": VALUES[metric]}


def _percentile(text: str, argument: str) -> float:
    try:
        value = float(argument)
    except ValueError:
        value = math.nan
    if not 0 < value < 100:
        raise ValueError(f"{text!r}: p(N) takes a percentile between 0 and 100, such as p(99.9)")
    return value


def read(metric: str, condition: Condition) -> Threshold:
    """Read one threshold of a scenario: text, or `{threshold: …, abort_on_fail: true, delay_abort_eval: 2s}`.

    Raises ValueError that shows the right form.
    """
    if isinstance(condition, str):
        return parse(metric, condition)
    options = {"abort_on_fail": False, "delay_abort_eval": "0s", **condition}
    if "delay_abort_eval" in condition and not options["abort_on_fail"]:
        raise ValueError("delay_abort_eval needs abort_on_fail: true")
    delay_s = units.seconds(options["delay_abort_eval"])
    return parse(metric, str(options["threshold"]), bool(options["abort_on_fail"]), delay_s)


def aborting(thresholds: Thresholds, server: str) -> tuple[Threshold, ...]:
    """Return the thresholds of a server that end the run. Raises ValueError for one that cannot be read."""
    of_server = thresholds.get(server) or {}
    each = (read(metric, condition) for metric, conditions in of_server.items() for condition in conditions)
    return tuple(threshold for threshold in each if threshold.abort_on_fail)
