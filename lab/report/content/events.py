"""Timed events: what each did to every server, before, during and after; rows for every report."""

from __future__ import annotations

from lab.analysis.model import EventFigures, EventPart, Summary
from lab.report.content import text

HEADINGS = ("server", "event", "part", "length s", "requests/s", "p50 ms", "p99 ms", "errors", "recovered in")
NUMERIC = frozenset(range(3, len(HEADINGS)))
PARTS = ("before", "during", "after")


def rows(summary: Summary) -> list[list[str]]:
    """Three rows per server and event, in the columns of HEADINGS; none where no event happened."""
    return [
        [text.label(name, server), _event(one), part, *_cells(getattr(one, part)), recovery(one, part)]
        for name, server in summary.servers.items()
        for one in server.events
        for part in PARTS
    ]


def _event(one: EventFigures) -> str:
    """`partition swarm – servers, 5.0 … 7.0 s`."""
    until = "" if one.healed_s is None or one.healed_s == one.begin_s else f" … {one.healed_s:.1f}"
    return f"{text.clean(one.says)}, {one.begin_s:.1f}{until} s"


def _cells(part: EventPart) -> list[str]:
    return [
        text.NOTHING if part.seconds is None else f"{part.seconds:.1f}",
        text.number(part.requests_per_s),
        text.quantile(part.response_ms, "p50"),
        text.quantile(part.response_ms, "p99"),
        text.percent(part.errors),
    ]


def recovery(one: EventFigures, part: str) -> str:
    """`1.4 s`, or `> 4.2 s` where the backlog was not gone by then; in the row of the span itself.

    The swarm looks ten times a second.
    """
    if part != "during":
        return ""
    if one.recover_s is not None:
        return "≤ 0.1 s" if one.recover_s <= 0.1 else f"{one.recover_s:.1f} s"
    return text.NOTHING if one.not_within_s is None else f"> {one.not_within_s:.1f} s"
