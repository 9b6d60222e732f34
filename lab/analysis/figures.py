"""One trial's figures: what its window held, per second and per request. Nothing is judged here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from lab.analysis import counted, cpu, memory
from lab.analysis.groups import parts
from lab.analysis.histogram import quantiles, response_times, service_times
from lab.analysis.limits import SERVER, backlog, open_peak, queue_overran, refused_above
from lab.analysis.model import Errors, GroupFigures, Quantiles, TrialFigures, cpu_is_full
from lab.analysis.recovery import event_figures, unrecovered
from lab.common.figure import Computed, Figure, Increase, Peak, PerRequest, Quotient
from lab.common.figures import FIGURES
from lab.results.load import Counts, LoadResult
from lab.results.record import TrialRecord
from lab.scenario.load import OWN_USERS


def figures(trial: TrialRecord) -> TrialFigures:
    """One trial's figures: those of the table that are read as they are, and those with a function below.

    A failed trial has its reason and nothing else.
    """
    load = trial.load
    if load is None:
        return TrialFigures(trial=trial.id, status=trial.status, reason=trial.reason)
    result, window = load.result, load.window_ms
    seconds = (window[1] - window[0]) / 1000
    used_us, cpu_source = cpu.cpu_us(trial, window)
    polls = cpu.busy_waits(trial)
    cores = ratio(used_us, seconds * 1e6)
    peak = connections_peak(trial)
    held = None if _one_exchange(trial) else peak
    per_connection, marks = memory.per_connection(trial, held)
    kept_up = {name: _kept_up(part) for name, part in parts(trial).items()}
    found = TrialFigures(
        trial=trial.id,
        status=trial.status,
        reason=trial.reason,
        **_of_load(load, left_out(*parts(trial).values())),
        **_read_as_they_are(trial),
        kept_up=all_known(kept_up.values()),
        groups={
            name: GroupFigures(
                connections_peak=one.result.connected_peak,
                kept_up=kept_up.get(name),
                **_of_load(one, left_out(part)),
            )
            for name, part in parts(trial).items()
            if name and (one := part.load)
        },
        connections_peak=peak,
        connect_ms=quantiles(result.connect_ms_hdr) if result.connect_ms_hdr else Quantiles(),
        cpu_us_per_request=None if polls else ratio(used_us, result.done),
        cpu_cores=cores,
        cpu_share=ratio(cores, cpu.may_use(trial)),
        cpu_cores_waiting=cpu.waiting_cores(trial),
        busy_waits=polls,
        cpu_source=cpu_source,
        marks=marks,
        memory_bytes_per_connection=per_connection["memory_bytes_per_connection"],
        pss_bytes_per_connection=per_connection["pss_bytes_per_connection"],
        rss_bytes_per_connection=per_connection["rss_bytes_per_connection"],
        syscalls_per_request=counted.calls_per_request(trial),
        events=event_figures(trial),
    )
    return found.model_copy(update={"cpu_at_least": cpu_is_full(found)})


def _read_as_they_are(trial: TrialRecord) -> dict[str, Any]:
    rows = (figure for figure in FIGURES if not isinstance(figure.source, Computed))
    return {figure.name: _read(figure, trial) for figure in rows}


def _read(figure: Figure, trial: TrialRecord) -> float | None:
    """Return a figure whose row of the table says all that there is to know."""
    window = counted.window(trial)

    def grown(counter: str) -> float | None:
        return counted.grown(trial, counter, window)

    match figure.source:
        case PerRequest(counters):
            return ratio(_sum(*map(grown, counters)), counted.requests(trial, window))
        case Quotient(top, bottom):
            return ratio(grown(top), grown(bottom))
        case Peak(sources):
            seen = (trial.series.highest(SERVER, *source) for source in sources)
            return next((value for value in seen if value is not None), None)
        case Increase(source, metric):
            return trial.series.growth(SERVER, source, metric)
    raise AssertionError(f"{figure.name}: read by a function of its own")


def _of_load(load: LoadResult, without: LeftOut) -> dict[str, Any]:
    """Return what the swarm alone can tell: rates, times, errors."""
    result, window = load.result, load.window_ms
    seconds = (window[1] - window[0]) / 1000
    return {
        "offered_per_s": ratio(result.intended, seconds),
        "requests_per_s": ratio(result.done, seconds),
        "response_ms": response_times(result).quantiles(),
        "service_ms": service_times(result).quantiles(),
        "errors": _errors(load, without),
    }


def _kept_up(trial: TrialRecord) -> bool | None:
    found = backlog(trial)
    if any(map(queue_overran, trial.links)) or unrecovered(trial):
        return None  # the backlog is a link's or an event's, not the server's
    return None if found is None else not found.grew


def all_known(each: Iterable[bool | None]) -> bool | None:
    """Tell whether all of them hold, of those that are known; None where none is."""
    known = [one for one in each if one is not None]
    return all(known) if known else None


def connections_peak(trial: TrialRecord) -> int | None:
    """Return the connections held at once: the server's count; the kernel's where it prints none."""
    own = open_peak(trial)
    return own if own is not None else _whole(trial.series.highest(SERVER, "sockets", "established"))


def _one_exchange(trial: TrialRecord) -> bool:
    """Whether connections come and go with each request: then no memory is any connection's own."""
    return trial.scenario.swarm.one_exchange


class LeftOut(NamedTuple):
    """Users that never had a connection, of so many; None where none is known."""

    number: int | None
    users: int
    sent_nothing: bool  # of a closed load; in an open one others sent for them, or they failed

    @property
    def share(self) -> float:
        """Their share of the users."""
        return (self.number or 0) / self.users if self.users else 0.0

    def failed(self, of_those_sent: float) -> float:
        """Return the share of all requests that failed, from that of those sent."""
        if self.sent_nothing:
            return self.share + (1 - self.share) * of_those_sent
        return max(self.share, of_those_sent)


def left_out(*trials: TrialRecord) -> LeftOut:
    """Return the users that the server refused; of a closed load also those whose connection never opened.

    A user that holds no connection between requests, and one of a locustfile, is not told apart.
    """
    users, numbers = 0, []
    for trial in trials:
        swarm = trial.scenario.swarm
        users += swarm.max_users
        told = not swarm.one_exchange and swarm.load.executor != OWN_USERS
        if told and trial.load is not None:
            most = [trial.load.result.connected_peak] if swarm.load.is_closed else []
            most += [above] if len(trials) == 1 and (above := refused_above(trial)) is not None else []
            numbers += [max(0, swarm.max_users - min(most))] if most else []
    closed = all(trial.scenario.swarm.load.is_closed for trial in trials)
    return LeftOut(sum(numbers) if numbers else None, users, closed)


def _errors(load: LoadResult, without: LeftOut) -> Errors:
    result = load.result
    by_kind = {kind: seen.count for kind, seen in result.errors.items()}
    failed, meant = failed_of(result)
    of_those_sent = failed / meant if meant else 0.0
    known = meant or without.number  # where nobody asked anything, nothing has failed or succeeded
    return Errors(
        rate=without.failed(of_those_sent) if known else None,
        users_left_out=without.number,
        by_kind={k: n for k, n in by_kind.items() if n},
    )


def failed_of(result: Counts) -> tuple[int, int]:
    """Return requests that failed or were never sent, and how many there should have been."""
    return result.failed + (result.unsent or 0), max(result.intended, result.sent)


def ratio(top: float | None, bottom: float | None) -> float | None:
    """Return a quotient; None where either side is unknown, or the lower one is 0."""
    return top / bottom if top is not None and bottom else None


def overhead_cores(trial: TrialRecord) -> float | None:
    """CPUs that the orchestrator itself kept busy in the window."""
    if trial.load is None:
        return None
    start, end = window = trial.load.window_ms
    return ratio(trial.series.increase("lab", "orchestrator", "cpu_us", window), (end - start) * 1000)


def _sum(*values: float | None) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
