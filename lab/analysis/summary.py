"""Run → Summary: per trial the figures of its window, per server their medians. `judge` judges them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from lab.analysis import limits, scheduling
from lab.analysis.figures import all_known, figures, overhead_cores
from lab.analysis.groups import parts
from lab.analysis.histogram import FEWEST
from lab.analysis.model import (
    Errors,
    Estimate,
    EventFigures,
    EventPart,
    GroupFigures,
    GroupSummary,
    Interval,
    LinkSummary,
    LoadFigures,
    QuantileName,
    Quantiles,
    ServerSummary,
    Summary,
    TrialFigures,
    figure_of,
    is_lower_bound,
)
from lab.analysis.statistics import FEWEST_FOR_INTERVAL, median_interval
from lab.common.figure import Figure
from lab.common.figures import FIGURES
from lab.common.units import show_percent
from lab.results.record import Run, TrialRecord
from lab.scenario import catalog

CLOSED = "closed load"
# A record of an earlier version: what a slow server answered after the window counts in its rate.
BY_INTENDED_SEND = "answers counted by intended send"
NO_COOLDOWN = "no cool-down"


def summarise(run: Run) -> Summary:
    """Everything measured, nothing judged: verdict stays UNKNOWN."""
    groups: dict[str, list[TrialRecord]] = {}
    for trial in run.trials:
        groups.setdefault(group(trial), []).append(trial)
    return Summary(
        run=run.id,
        scenario=run.scenario,
        question=run.question,
        stamps=tuple(sorted({stamp for trial in run.trials for stamp in _stamps(trial)})),
        links=tuple(
            LinkSummary(trial=trial.id, **dict(link)) for trial in run.trials for link in trial.links
        ),
        servers={name: _server(trials) for name, trials in groups.items()},
        environment=_environment(run),
    )


def _overhead(run: Run) -> dict[str, dict[str, float | str]]:
    """Return what the lab itself cost beside its nodes, the median over trials; empty where it is unknown."""
    host = run.manifest.environment.host if run.manifest.environment else None
    cores = _median(overhead_cores(trial) for trial in run.trials)
    if cores is None or host is None or not host.cpus:
        return {}
    cpus = len(host.cpus)
    share = f"{show_percent(cores / cpus)} of {cpus} CPUs"
    return {"overhead": {"cpu_cores": round(cores, 4), "cpu": share}}


def group(trial: TrialRecord) -> str:
    """Return the key of a trial's server and sweep point in `Summary.servers`: its id without the repeat."""
    return trial.key.group


def over_valid(server: ServerSummary, invalid: Collection[str]) -> ServerSummary:
    """Return the same server with medians over its valid trials; over all measured ones where none is.

    No figure is deleted: `per_trial` keeps every trial.
    """
    measured = [f for f in server.per_trial if f.status == "ok"]
    valid = [f for f in measured if f.trial not in invalid]
    return server.model_copy(update={**_medians(valid or measured), "trials_valid": len(valid)})


def _environment(run: Run) -> dict[str, object]:
    """Return what the manifest tells of the environment, and how the processes of the load were scheduled."""
    told = run.manifest.environment.to_json() if run.manifest.environment else {}
    scheduled = scheduling.facts(run.trials)
    told |= _overhead(run)
    return {**told, "scheduling": scheduled} if scheduled else told


def _stamps(trial: TrialRecord) -> Iterable[str]:
    yield from trial.stamps
    each = parts(trial)
    yield from (stamp for part in each.values() for stamp in _timing(part))
    yield from (link.stamp for link in trial.links if link.stamp)
    if not trial.scenario.swarm.phases.cooldown:
        yield NO_COOLDOWN
    if trial.load and trial.load.result.completed is None:
        yield BY_INTENDED_SEND
    for name, part in each.items():
        if part.scenario.swarm.load.is_closed:
            # A closed load sends less when the server is slow: its response times leave the waiting out.
            yield f"{CLOSED} of {name}" if name else CLOSED


def _timing(trial: TrialRecord) -> Iterable[str]:
    """Where times come from, unless it is the lab's engine."""
    timing = trial.load.result.timing if trial.load else None
    if timing and timing.source != "engine":
        yield f"times by {timing.source}, in steps of {timing.resolution_us:g} µs"


def _server(trials: Sequence[TrialRecord]) -> ServerSummary:
    first = trials[0]
    each = [figures(trial) for trial in trials]
    measured = [f for f in each if f.status == "ok"]
    model = catalog.models().get(first.model or "")
    return ServerSummary(
        server=first.server,
        point=dict(first.point),
        model=first.model,
        family=model.family if model else None,
        image=first.settings.image,
        trials=len(trials),
        trials_valid=len(measured),
        users=first.scenario.swarm.max_users,
        refused_above=_most(limits.refused_above(trial) for trial in trials),
        served_at_once=_most(limits.served_at_once(trial) for trial in trials),
        per_trial=tuple(each),
        **_medians(measured),
    )


def _medians(trials: Sequence[TrialFigures]) -> dict[str, Any]:
    """Return the fields of ServerSummary that are taken over trials."""
    scalars = {figure.name: _over(figure, trials) for figure in FIGURES if figure.name in SCALARS}
    return scalars | {
        "busy_waits": any(f.busy_waits for f in trials),
        "cpu_at_least": _cpu_at_least(trials),
        "requests_per_s": estimate([f.requests_per_s for f in trials if f.requests_per_s is not None]),
        "response_ms": _median_quantiles([f.response_ms for f in trials]),
        "service_ms": _median_quantiles([f.service_ms for f in trials]),
        "errors": _merged_errors([f.errors for f in trials]),
        "marks": {name: mark for f in trials for name, mark in f.marks.items()},
        "intervals": _intervals(FIGURES, trials),
        "kept_up": all_known(f.kept_up for f in trials),
        "groups": {
            name: _group([f.groups[name] for f in trials if name in f.groups])
            for name in dict.fromkeys(name for f in trials for name in f.groups)
        },
        "events": tuple(map(_event, zip(*(f.events for f in trials), strict=False))),
        "syscalls_per_request": _median_map(
            [f.syscalls_per_request for f in trials if f.syscalls_per_request]
        ),
    }


def _cpu_at_least(trials: Sequence[TrialFigures]) -> bool | None:
    """Whether the median is a lower bound: that of a trial may move it, as it could be any higher."""
    known = [f for f in trials if f.cpu_us_per_request is not None]
    if all(f.cpu_at_least is None for f in known):
        return None
    highest = [math.inf if f.cpu_at_least else f.cpu_us_per_request for f in known]
    return bool(known) and _median(highest) != _median(f.cpu_us_per_request for f in known)


# Figures that are one number in a trial and one over trials; the others have a type of their own.
SCALARS = frozenset(
    figure.name
    for figure in FIGURES
    if figure.path[0] not in ("requests_per_s", "response_ms", "errors", "syscalls_per_request")
)


def _over(figure: Figure, trials: Sequence[TrialFigures]) -> float | int | None:
    values = [getattr(trial, figure.name) for trial in trials]
    return _most(values) if figure.over_trials == "most" else _median(values)


def _group(each: Sequence[GroupFigures]) -> GroupSummary:
    return GroupSummary(
        offered_per_s=_median(one.offered_per_s for one in each),
        requests_per_s=estimate([one.requests_per_s for one in each if one.requests_per_s is not None]),
        response_ms=_median_quantiles([one.response_ms for one in each]),
        service_ms=_median_quantiles([one.service_ms for one in each]),
        errors=_merged_errors([one.errors for one in each]),
        kept_up=all_known(one.kept_up for one in each),
        connections_peak=_most(one.connections_peak for one in each),
        intervals=_intervals([f for f in FIGURES if f.path[0] in GroupFigures.model_fields], each),
    )


def _intervals(figures_: Iterable[Figure], each: Sequence[LoadFigures]) -> dict[str, Interval]:
    """Of every figure that more than one of these has."""
    found = {figure.name: _interval(figure, each) for figure in figures_}
    return {name: interval for name, interval in found.items() if interval.n > 1}


def _interval(figure: Figure, each: Sequence[LoadFigures]) -> Interval:
    values = [value for one in each if (value := figure_of(one, figure)) is not None]
    if len(values) < 2 or any(is_lower_bound(one, figure) for one in each):
        return Interval(n=len(values))
    enough = len(values) >= FEWEST_FOR_INTERVAL
    low, high = median_interval(values) if enough else (min(values), max(values))
    return Interval(n=len(values), low=low, high=high)


def _event(each: Sequence[EventFigures]) -> EventFigures:
    """One event over the trials. A trial that did not recover counts as slower than every one that did."""
    waited = sorted(
        (one.recover_s is None, one.not_within_s if one.recover_s is None else one.recover_s)
        for one in each
        if one.recover_s is not None or one.not_within_s is not None
    )
    never, middle_s = waited[len(waited) // 2] if waited else (False, None)
    parts = ("before", "during", "after")
    return EventFigures(
        says=each[0].says,
        begin_s=statistics.median(one.begin_s for one in each),
        healed_s=_median(one.healed_s for one in each),
        recover_s=None if never else middle_s,
        not_within_s=middle_s if never else None,
        **{name: _event_part([getattr(one, name) for one in each]) for name in parts},
    )


def _event_part(each: Sequence[EventPart]) -> EventPart:
    return EventPart(
        seconds=_median(one.seconds for one in each),
        requests_per_s=_median(one.requests_per_s for one in each),
        response_ms=_median_quantiles([one.response_ms for one in each]),
        errors=_median(one.errors for one in each),
    )


def estimate(values: Sequence[float]) -> Estimate:
    """Median over trials and, from six on, its exact order-statistic interval."""
    if not values:
        return Estimate()
    enough = len(values) >= FEWEST_FOR_INTERVAL
    return Estimate(value=statistics.median(values), ci95=median_interval(values) if enough else None)


def _most(values: Iterable[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _median_map(maps: Sequence[dict[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for one in maps for name in one)
    return {name: statistics.median([one.get(name, 0.0) for one in maps]) for name in names}


def _median_quantiles(each: Sequence[Quantiles]) -> Quantiles:
    """Medians over trials. One is a lower bound where that of a trial may move it: any could be higher."""
    medians = {name: _median(getattr(q, name) for q in each) for name in (*FEWEST, "mean", "max")}
    highest = {name: _median(_highest(q, name) for q in each) for name in FEWEST}
    return Quantiles(
        samples=sum(q.samples for q in each),
        unanswered=sum(q.unanswered for q in each),
        at_least=tuple(name for name in FEWEST if highest[name] != medians[name]),
        **medians,
    )


def _highest(quantiles: Quantiles, name: QuantileName) -> float | None:
    return math.inf if name in quantiles.at_least else getattr(quantiles, name)


def _merged_errors(each: Sequence[Errors]) -> Errors:
    kinds: dict[str, int] = {}
    for errors in each:
        for kind, number in errors.by_kind.items():
            kinds[kind] = kinds.get(kind, 0) + number
    return Errors(
        rate=_median(e.rate for e in each),
        users_left_out=_most(e.users_left_out for e in each),
        by_kind=kinds,
    )
