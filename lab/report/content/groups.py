"""The swarm's named groups, each with its own figures: rows for every report."""

from __future__ import annotations

from lab.analysis.model import Summary
from lab.common.figures import BY_NAME
from lab.report.content import text

HEADINGS = ("server", "group", "requests/s", "p50 ms", "p99 ms", "errors", "connections")
FIGURES = ("requests_per_s", "response_p50_ms", "response_p99_ms", "errors", "connections_peak")
NUMERIC = frozenset(range(2, len(HEADINGS)))


def rows(summary: Summary) -> list[list[str]]:
    """One row per server and group, in the columns of HEADINGS; none where the swarm has no groups."""
    return [
        [
            text.label(name, server),
            text.clean(group),
            *(text.cell(found, BY_NAME[name]) for name in FIGURES),
        ]
        for name, server in summary.servers.items()
        for group, found in server.groups.items()
    ]
