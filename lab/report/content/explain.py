"""What may explain a cost: the counts of each model beside its costs, as a table and as sentences.

The sentences name figures that differ together; that is no proof of a cause. They mention costs that differ
by at least 1.25 × with intervals that lie apart, and explaining figures that differ by at least 1.5 ×. Where
one of the servers has a single trial, both must differ by at least 2 ×: one and the same server differs by
1.5 × from trial to trial. Servers that failed more than 1 % of their requests are left out: the requests
they answered are no fair sample. So are servers that did not keep up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lab.analysis.model import (
    Interval,
    ServerSummary,
    Summary,
    figure_of,
    is_cpu_cost,
    is_lower_bound,
    why_bound,
)
from lab.common.figure import Figure
from lab.common.figures import BY_NAME, FIGURES
from lab.report.content.text import (
    NOTHING,
    amount,
    capital,
    cell,
    clean,
    measured,
    number,
    percent,
    shown,
    with_unit,
)

TELLING_COST, TELLING_CAUSE, TELLING_OF_ONE_TRIAL = 1.25, 1.5, 2.0
MOST_ERRORS = 0.01
MOST_CAUSES = 3

COSTS = tuple(figure for figure in FIGURES if figure.explained_by)
COLUMNS = tuple(figure for figure in FIGURES if figure.behind)
CALLS = "most frequent calls (warm-up)"
HEADINGS = (*(figure.heading for figure in COLUMNS), CALLS)


def row(server: ServerSummary) -> list[str]:
    """Return the cells under HEADINGS."""
    most = sorted(server.syscalls_per_request.items(), key=lambda item: (-item[1], item[0]))[:3]
    calls = ", ".join(f"{name}\u00a0{number(each)}" for name, each in most) or NOTHING
    return [*(cell(server, figure) for figure in COLUMNS), calls]


def sentences(summary: Summary) -> list[str]:
    """For each cost that differs much: the dearest and the cheapest server, and what else differs."""
    if len(_comparable(summary)) < 2:
        return [_too_few(summary)]
    return [sentence for cost in COSTS for sentence in (*_sentence(cost, summary), *_bounded(cost, summary))]


def _bounded(cost: Figure, summary: Summary) -> Iterator[str]:
    """Say whose cost is in no ranking, as it is a lower bound, or as there is none, and why."""
    comparable = _comparable(summary).items()
    if full := [clean(name) for name, server in comparable if is_lower_bound(server, cost)]:
        yield f"{capital(cost.noun)} of {_and(full)} is in no ranking: {why_bound(cost.name)}."
    polling = [clean(name) for name, server in comparable if server.busy_waits]
    if polling and is_cpu_cost(cost):
        yield f"{capital(cost.noun)}: none of {_and(polling)}, which polls and fills its CPU at every rate."


def _too_few(summary: Summary) -> str:
    """Why nothing is compared: which servers are left out, and for what."""
    reasons = {name: _left_out(server, _last_point(summary)) for name, server in summary.servers.items()}
    named = "; ".join(f"{clean(name)}: {reason}" for name, reason in reasons.items() if reason)
    says = "At least two servers with valid figures are needed to explain a difference"
    return f"{says}. Left out: {named}." if named else f"{says}."


def _left_out(server: ServerSummary, point: Mapping[str, object]) -> str:
    """Why a server may not be compared; empty where it may: believed, answering, at this sweep point."""
    if server.point != point:
        return "not at the last point of the sweep"
    if not measured(server):
        return "no figures"
    if not server.trials_valid:
        return "invalid"
    if server.kept_up is False:
        return "at its limit"
    rate = server.errors.rate
    return f"failed {percent(rate)} of its requests" if rate is not None and rate > MOST_ERRORS else ""


def _last_point(summary: Summary) -> Mapping[str, object]:
    return list(summary.servers.values())[-1].point if summary.servers else {}


def _sentence(cost: Figure, summary: Summary) -> Iterator[str]:
    comparable = _comparable(summary).items()
    known = {
        name: value
        for name, server in comparable
        if (value := shown(server, cost)) is not None and not is_lower_bound(server, cost)
    }
    if len(known) < 2:
        return
    low, high = min(known, key=lambda n: known[n]), max(known, key=lambda n: known[n])
    single = [name for name in (high, low) if _trials(summary.servers[name], cost) == 1]
    telling = TELLING_OF_ONE_TRIAL if single else TELLING_COST
    if known[high] - known[low] < cost.least or known[high] < telling * max(known[low], 1e-9):
        return
    if not single and not _apart(summary.servers[high], summary.servers[low], cost):
        return
    times = f"{number(known[high] / known[low])} ×" if known[low] > 0 else "more than"
    much, little = (with_unit(known[name], cost) for name in (high, low))
    says = f"{capital(cost.noun)}: {high} has {much}, {times} {low} ({little}{_of_one(single)})."
    telling = TELLING_OF_ONE_TRIAL if single else TELLING_CAUSE
    causes = list(_causes(cost, summary.servers[high], summary.servers[low], telling))[:MOST_CAUSES]
    if not causes:
        yield f"{says} No counted figure differs as much."
        return
    theirs, others = _and([cause[1] for cause in causes]), _and([cause[2] for cause in causes])
    yield f"{says} {high} had {theirs}; {low} had {others}."


def _of_one(single: list[str]) -> str:
    """`; one trial each`, `; one trial of poll`; empty where both have several."""
    return (
        "" if not single else "; one trial each" if len(single) > 1 else f"; one trial of {clean(single[0])}"
    )


def _interval(server: ServerSummary, cost: Figure) -> Interval:
    known = figure_of(server, cost) is not None
    return server.intervals.get(cost.name if known else cost.fallback, Interval(n=1))


def _trials(server: ServerSummary, cost: Figure) -> int:
    return _interval(server, cost).n


def _apart(high: ServerSummary, low: ServerSummary, cost: Figure) -> bool:
    """Whether the lowest of the dearer server is above the highest of the cheaper."""
    least, most = _interval(high, cost).low, _interval(low, cost).high
    return least is not None and most is not None and least > most


def _causes(
    cost: Figure, high: ServerSummary, low: ServerSummary, telling: float
) -> Iterator[tuple[float, str, str]]:
    """Figures that differ as much: how many times, and the words for either server, the largest first."""
    found = []
    for cause in (BY_NAME[name] for name in cost.explained_by):
        more, less = figure_of(high, cause), figure_of(low, cause)
        if more is None or less is None:
            continue
        top, bottom = (less, more) if cause.better == "higher" else (more, less)
        ratio = top / bottom if bottom > 0 else (float("inf") if top > 0 else 1.0)
        if ratio >= telling and top >= cause.least:
            found.append((ratio, cause.counted_as.format(amount(more, cause)), amount(less, cause)))
    yield from sorted(found, key=lambda item: -item[0])


def _comparable(summary: Summary) -> dict[str, ServerSummary]:
    """Servers that may be compared, at one sweep point: the last of the plan."""
    last = _last_point(summary)
    return {name: server for name, server in summary.servers.items() if not _left_out(server, last)}


def _and(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
