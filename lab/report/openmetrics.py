"""A run as OpenMetrics text (OpenMetrics 1.0), for a push gateway or a textfile collector.

Gauges and summaries in base units (seconds, bytes), one series per server; labels name run, scenario, server
and sweep point. A figure that was not measured, or that the samples cannot support, has no sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from lab.analysis.model import ServerSummary, Summary
from lab.report.content.text import clean

Pick = Callable[[ServerSummary], Mapping[str, float | None]]
QUANTILES = {"p50": "0.5", "p90": "0.9", "p95": "0.95", "p99": "0.99", "p999": "0.999"}


def _one(pick: Callable[[ServerSummary], float | None], factor: float = 1.0) -> Pick:
    def picked(server: ServerSummary) -> Mapping[str, float | None]:
        value = pick(server)
        return {"": None if value is None else value * factor}

    return picked


def _quantiles(name: str) -> Pick:
    def picked(server: ServerSummary) -> Mapping[str, float | None]:
        quantiles = getattr(server, name)
        values = {level: getattr(quantiles, field) for field, level in QUANTILES.items()}
        return {f'quantile="{level}"': ms / 1000 if ms is not None else None for level, ms in values.items()}

    return picked


# Name, unit, help, figures by further labels.
FAMILIES: tuple[tuple[str, str, str, Pick], ...] = (
    ("lab_requests_per_second", "", "Answers per second of the measured window.",
     _one(lambda s: s.requests_per_s.value)),
    ("lab_offered_per_second", "", "Requests due per second.", _one(lambda s: s.offered_per_s)),
    ("lab_response_seconds", "seconds", "Response time from the intended send.", _quantiles("response_ms")),
    ("lab_service_seconds", "seconds", "Service time from the actual send.", _quantiles("service_ms")),
    ("lab_errors_ratio", "ratio", "Share of the requests without a right answer.",
     _one(lambda s: s.errors.rate if s.trials_valid else None)),
    ("lab_connections_peak", "", "Most connections held at once.", _one(lambda s: s.connections_peak)),
    ("lab_cpu_per_request_seconds", "seconds", "CPU time of the server per answer.",
     _one(lambda s: s.cpu_us_per_request, 1e-6)),
    ("lab_memory_per_connection_bytes", "bytes", "Memory growth of the server per connection.",
     _one(lambda s: s.memory_bytes_per_connection)),
    ("lab_switches_per_request", "", "Context switches of the server per answer.",
     _one(lambda s: s.switches_per_request)),
    ("lab_trials_valid", "", "Trials whose figures may be believed.", _one(lambda s: float(s.trials_valid))),
)  # fmt: skip

SUMMARIES = ("lab_response_seconds", "lab_service_seconds")


def openmetrics(summary: Summary) -> str:
    """The whole exposition, ended by `# EOF`."""
    return "\n".join([*_verdict(summary), *_families(summary), "# EOF", ""])


def _verdict(summary: Summary) -> Iterator[str]:
    yield "# TYPE lab_verdict stateset"
    yield "# HELP lab_verdict The verdict of the run."
    common = _labels({"run": summary.run, "scenario": summary.scenario})
    for word in ("PASS", "FAIL", "INVALID", "INCONCLUSIVE", "UNKNOWN"):
        yield f'lab_verdict{{{common},lab_verdict="{word}"}} {int(word == summary.verdict)}'


def _families(summary: Summary) -> Iterator[str]:
    for name, unit, explains, pick in FAMILIES:
        yield f"# TYPE {name} {'summary' if name in SUMMARIES else 'gauge'}"
        if unit:
            yield f"# UNIT {name} {unit}"
        yield f"# HELP {name} {explains}"
        for server in summary.servers.values():
            labels = _labels(_names(summary, server))
            for more, value in pick(server).items():
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
