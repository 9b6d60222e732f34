"""The order of servers in every report: by sweep point, then as in the catalog of models.

Trials run in shuffled order, and the summary keeps it; a reader looks for families and for growth.
"""

from __future__ import annotations

import math

from lab.analysis.growth import position
from lab.analysis.model import ServerSummary, Summary
from lab.scenario import catalog


def in_order(summary: Summary) -> Summary:
    """Return the same summary with its servers in reading order."""
    places = {name: place for place, name in enumerate(catalog.models())}

    def key(item: tuple[str, ServerSummary]) -> tuple[object, ...]:
        name, server = item
        return (*_point(server), places.get(server.model or "", len(places)), name)

    return summary.model_copy(update={"servers": dict(sorted(summary.servers.items(), key=key))})


def _point(server: ServerSummary) -> tuple[tuple[float, str], ...]:
    values = (server.point[path] for path in sorted(server.point))
    return tuple((math.inf if (x := position(value)) is None else x, str(value)) for value in values)
