"""A run as OpenMetrics text (OpenMetrics 1.0), for a push gateway or a textfile collector.

Gauges and summaries in base units (seconds, bytes), one series per server; labels name run, scenario, server
and sweep point. A figure that was not measured, or that the samples cannot support, has no sample; a
lower bound has a family of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from lab.analysis.model import Quantiles, ServerSummary, Summary, figure_of, is_lower_bound
from lab.common.figure import Figure
from lab.common.figures import FIGURES
from lab.report.content.text import clean

QUANTILES = {"p50": "0.5", "p90": "0.9", "p95": "0.95", "p99": "0.99", "p999": "0.999"}
# Units of the table of figures → base unit, factor. Source of the names: OpenMetrics, "Units and Base Units".
BASE = {"µs": ("seconds", 1e-6), "ms": ("seconds", 1e-3), "B": ("bytes", 1.0), "share": ("ratio", 1.0)}


@dataclass(frozen=True)
class Family:
    """A metric family: a figure of every server, or a distribution with its quantiles as labels."""

    name: str
    unit: str
    explains: str
    pick: Callable[[ServerSummary], Mapping[str, float | None]]
    kind: str = "gauge"


def _of_figure(figure: Figure) -> Family:
    unit, factor = BASE.get(figure.unit, ("", 1.0))

    def pick(server: ServerSummary) -> Mapping[str, float | None]:
        value = None if is_lower_bound(server, figure) else figure_of(server, figure)
        known = value is not None and (figure.unit != "share" or server.trials_valid)
        return {"": value * factor if known and value is not None else None}

    return Family(family_name(figure.name, unit), unit, figure.explains, pick)


def family_name(figure: str, unit: str) -> str:
    """`cpu_us_per_request`, seconds → `lab_cpu_per_request_seconds`: the base unit stands last."""
    scaled = {"seconds": ("us", "ms", "s"), "bytes": ("bytes",)}.get(unit, ())
    words = [word for word in figure.split("_") if word not in scaled]
    spelt = ["second" if word == "s" else word for word in words]
    return "_".join(["lab", *spelt, *([unit] if unit else [])])


def _distribution(name: str, field: str, explains: str) -> Family:
    """Return the family of the quantiles that are known: a lower bound is none of them."""

    def pick(server: ServerSummary) -> Mapping[str, float | None]:
        return _quantiles(getattr(server, field), at_least=False)

    return Family(name, "seconds", explains, pick, "summary")


def _lower_bounds(name: str, field: str, explains: str) -> Family:
    def pick(server: ServerSummary) -> Mapping[str, float | None]:
        return _quantiles(getattr(server, field), at_least=True)

    return Family(name, "seconds", explains, pick)


def _cpu_bound(server: ServerSummary) -> Mapping[str, float | None]:
    us = server.cpu_us_per_request if server.cpu_at_least else None
    return {"": None if us is None else us / 1e6}


def _quantiles(quantiles: Quantiles, *, at_least: bool) -> Mapping[str, float | None]:
    label = "level" if at_least else "quantile"  # `quantile` is the label of summaries
    values = {
        level: getattr(quantiles, name)
        for name, level in QUANTILES.items()
        if (name in quantiles.at_least) is at_least
    }
    return {f'{label}="{level}"': ms / 1000 if ms is not None else None for level, ms in values.items()}


FAMILIES = (
    _distribution("lab_response_seconds", "response_ms", "Response time from the intended send."),
    _lower_bounds(
        "lab_response_lower_bound_seconds",
        "response_ms",
        "Quantiles of the response time that fall among requests without an answer: at least this.",
    ),
    _distribution("lab_service_seconds", "service_ms", "Service time from the actual send."),
    _lower_bounds(
        "lab_service_lower_bound_seconds",
        "service_ms",
        "Quantiles of the service time that fall among requests without an answer: at least this.",
    ),
    *(_of_figure(figure) for figure in FIGURES if figure.path[0] != "response_ms"),
    Family(
        "lab_cpu_per_request_lower_bound_seconds",
        "seconds",
        "The server's CPU time per answer where its CPU was full: at least this.",
        _cpu_bound,
    ),
    Family("lab_trials_valid", "", "Trials whose figures may be believed.", lambda s: {"": s.trials_valid}),
)


def openmetrics(summary: Summary) -> str:
    """Return the whole exposition, ended by `# EOF`."""
    return "\n".join([*_verdict(summary), *_families(summary), "# EOF", ""])


def _verdict(summary: Summary) -> Iterator[str]:
    yield "# TYPE lab_verdict stateset"
    yield "# HELP lab_verdict The verdict of the run."
    common = _labels({"run": summary.run, "scenario": summary.scenario})
    for word in ("PASS", "FAIL", "INVALID", "INCONCLUSIVE", "UNKNOWN"):
        yield f'lab_verdict{{{common},lab_verdict="{word}"}} {int(word == summary.verdict)}'


def _families(summary: Summary) -> Iterator[str]:
    for family in FAMILIES:
        name = family.name
        yield f"# TYPE {name} {family.kind}"
        if family.unit:
            yield f"# UNIT {name} {family.unit}"
        yield f"# HELP {name} {family.explains}"
        for server in summary.servers.values():
            labels = _labels(_names(summary, server))
            for more, value in family.pick(server).items():
                if value is not None:
                    yield f"{name}{{{labels}{',' if more else ''}{more}}} {value:.10g}"


def _names(summary: Summary, server: ServerSummary) -> dict[str, str]:
    point = ",".join(f"{path}={value}" for path, value in server.point.items())
    names = {"run": summary.run, "scenario": summary.scenario, "server": server.server}
    if server.model:
        names["model"] = server.model
    return {**names, "point": point} if point else names


def _labels(names: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{_escape(value)}"' for name, value in names.items())


def _escape(value: str) -> str:
    return clean(value).replace("\\", "\\\\").replace('"', '\\"')
