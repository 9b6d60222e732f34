"""Sweeps as plain chart data: each figure of a server against the value that was swept."""

from __future__ import annotations

import re
from typing import Any

from lab import units
from lab.analysis.model import ServerSummary, Summary
from lab.report.text import measured, memory

_UNITS: dict[str, float] = {
    "": 1.0, "%": 0.01, "/s": 1.0, "/min": 1 / 60, **units.DURATION, **units.SIZE, **units.BANDWIDTH,
}  # fmt: skip


def sweep(summary: Summary) -> dict[str, Any] | None:
    """None without a sweep; wants servers in order. The first path is the axis, further ones split lines."""
    paths = list(dict.fromkeys(path for server in summary.servers.values() for path in server.point))
    if not paths:
        return None
    rows = [_row(server, paths) for server in summary.servers.values() if measured(server)]
    numeric = all(row["x"] is not None for row in rows)
    return {"path": paths[0], "numeric": numeric, "rows": rows}


def _row(server: ServerSummary, paths: list[str]) -> dict[str, Any]:
    split = "".join(f", {path.rsplit('.', 1)[-1]} {server.point.get(path)}" for path in paths[1:])
    value = server.point.get(paths[0])
    return {
        "label": server.server + split,
        "x": position(value),
        "value": str(value),
        "requests_per_s": server.requests_per_s.value,
        "p50_ms": server.response_ms.p50,
        "p99_ms": server.response_ms.p99,
        "cpu_us": server.cpu_us_per_request,
        "memory_bytes": memory(server),
    }


def position(value: object) -> float | None:
    """Where a swept value stands on a numeric axis, in base units (units.py); None for a word."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z%/]*)", str(value).strip())
    if match is None or match[2] not in _UNITS:
        return None
    return float(match[1]) * _UNITS[match[2]]
