"""What timed events did to the load: where the span of each begins and ends, and what held in its parts.

The span of an event ends when the backlog is gone, not when the event ends: TCP sends a lost segment again
after 0.2, 0.6, 1.4 and 3.0 s, whenever the link heals, and then the requests that waited are sent at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lab.analysis.histogram import FEWEST, merged, response_times
from lab.analysis.model import EventFigures, EventPart, Quantiles
from lab.results.load import LoadResult, Second
from lab.results.node import TimedEvent
from lab.results.record import TrialRecord
from lab.scenario.event import Event, moments_s, stalls
from lab.scenario.swarm import Swarm

UNDOES = {"pause": "unpause", "limit": "restore limit"}  # what the record calls the end
SAME_MS = 1.0  # two computations of one moment
TENTH_MS = 100.0
# The backlog is gone when this share of the next tenths of a second, the first among them, has none to speak
# of: not more than this many times the highest before the event. A busy host makes peaks that last for one.
CALM_TENTHS, CALM_SHARE, BACKLOG_TIMES = 10, 0.8, 2.0
P50_TIMES, P50_MORE_MS, ERRORS_MORE = 2.0, 0.5, 0.01


@dataclass(frozen=True)
class Moment:
    """The beginning or the end of an event: when it was due, and when it was done (None: not recorded)."""

    wanted_ms: float
    done: TimedEvent | None

    @property
    def ms(self) -> float:
        """When it was done, as far as that is known."""
        actual = self.done.actual_mono_ms if self.done else None
        return self.wanted_ms if actual is None else actual

    @property
    def error(self) -> str | None:
        """Why it failed, if it did."""
        return self.done.error if self.done else None


@dataclass(frozen=True)
class Happening:
    """An event of one trial. `end` is None for a single moment."""

    event: Event
    target: str
    begin: Moment
    end: Moment | None
    stalls: bool

    @property
    def says(self) -> str:
        """`partition swarm – servers`."""
        return f"{self.event.action} {self.target}"

    @property
    def healed_ms(self) -> float | None:
        """When its change was undone; None for one that stays."""
        if self.event.action == "restart":
            return self.begin.ms
        return self.end.ms if self.end and self.event.undone else None


@dataclass(frozen=True)
class Span:
    """Where an event shows: from its beginning until the backlog is gone, or to the end of what was measured.

    `recovered_ms` is None where that did not come before `until_ms`, or cannot be told (`told`).
    """

    of: Happening
    begin_ms: float
    until_ms: float
    recovered_ms: float | None
    told: bool

    @property
    def end_ms(self) -> float:
        """Where it ends."""
        return self.until_ms if self.recovered_ms is None else self.recovered_ms

    def touches(self, from_ms: float, to_ms: float) -> bool:
        """Whether a part of it lies between these times."""
        return self.begin_ms < to_ms - SAME_MS and from_ms + SAME_MS < self.end_ms


def happenings(trial: TrialRecord) -> tuple[Happening, ...]:
    """Return the events of a trial in the order of their beginnings; none of another server's."""
    if trial.load is None:
        return ()
    start_ms = trial.load.window_ms[0]
    links = {spec.endpoints: spec for spec in trial.scenario.links}
    found = []
    for event in trial.scenario.events:
        if _elsewhere(event, trial):
            continue
        spec = links[event.endpoints] if event.endpoints else None
        target = " – ".join(event.endpoints) if event.endpoints else _node(event, trial)
        begin_s, end_s = moments_s(event, spec)
        names = (event.action, UNDOES.get(event.action, event.action))
        moments = [
            _moment(trial, name, target, start_ms + 1000 * at_s)
            for name, at_s in zip(names, (begin_s, end_s), strict=True)
            if at_s is not None
        ]
        end = moments[1] if len(moments) > 1 else None
        found.append(Happening(event, target, moments[0], end, stalls(event, spec)))
    return tuple(sorted(found, key=lambda one: one.begin.ms))


def _elsewhere(event: Event, trial: TrialRecord) -> bool:
    others = set(trial.scenario.servers) - {trial.server}
    return bool(others & {event.node, *(event.endpoints or ())})


def _node(event: Event, trial: TrialRecord) -> str:
    return "server" if event.node == trial.server else str(event.node)


def _moment(trial: TrialRecord, what: str, target: str, wanted_ms: float) -> Moment:
    done = (
        one
        for one in trial.events
        if (one.what, one.target) == (what, target) and abs(one.wanted_mono_ms - wanted_ms) < SAME_MS
    )
    return Moment(wanted_ms, next(done, None))


def spans(trial: TrialRecord) -> tuple[Span, ...]:
    """Return the span of every event of a trial, in the order of their beginnings."""
    events = happenings(trial)
    if trial.load is None or not events:
        return ()
    load, until_ms = trial.load, trial.load.window_ms[1]
    ends = [*(later.begin.ms for later in events[1:]), until_ms]
    found: list[Span] = []
    for one, next_ms in zip(events, ends, strict=True):
        before = _Before.of(load, trial.scenario.swarm, one.begin.ms, found)
        told = before is not None
        recovered = before.again(load, one.healed_ms, next_ms) if before else None
        last_ms = next_ms if recovered is not None or one.healed_ms is not None else until_ms
        found.append(Span(one, one.begin.ms, last_ms, recovered, told))
    return tuple(found)


@dataclass(frozen=True)
class _Before:
    """What held before an event."""

    backlog: int
    connected: int
    p50_ms: float | None
    errors: float
    lasting: bool  # users hold their connections
    closed: bool

    @classmethod
    def of(cls, load: LoadResult, swarm: Swarm, begin_ms: float, earlier: Sequence[Span]) -> _Before | None:
        """Up to the event, without the spans of earlier ones; with the warm-up where that is less than 1 s.

        None where the swarm took no samples.
        """
        window_ms = load.window_ms[0]
        calm = [
            (at_ms, backlog, connected)
            for at_ms, backlog, connected in _tenths(load)
            if at_ms <= begin_ms and not any(one.begin_ms < at_ms <= one.end_ms for one in earlier)
        ]
        within = [one for one in calm if one[0] > window_ms]
        chosen = within if len(within) >= CALM_TENTHS else calm
        if not chosen:
            return None
        first_ms = chosen[0][0] - TENTH_MS
        seconds = [
            second
            for second, start_ms, end_ms in _bounds(load)
            if start_ms >= first_ms - SAME_MS
            and end_ms <= begin_ms + SAME_MS
            and not any(one.touches(start_ms, end_ms) for one in earlier)
        ]
        return cls(
            backlog=max(backlog for _, backlog, _ in chosen),
            connected=min(connected for _, _, connected in chosen),
            p50_ms=_p50_ms(seconds),
            errors=_error_share(seconds) or 0.0,
            lasting=not any(group.swarm.one_exchange for group in swarm.all_groups),
            closed=any(group.swarm.load.is_closed for group in swarm.all_groups),
        )

    def again(self, load: LoadResult, healed_ms: float | None, until_ms: float) -> float | None:
        """When it held again after an event that ended at `healed_ms`; None if not before `until_ms`."""
        if healed_ms is None:
            return None
        after = [one for one in _tenths(load) if healed_ms < one[0] <= until_ms + SAME_MS]
        calm = [
            backlog <= BACKLOG_TIMES * max(self.backlog, 1)
            and (connected >= self.connected or not self.lasting)
            for _, backlog, connected in after
        ]
        for place, (at_ms, _, _) in enumerate(after):
            following = calm[place : place + CALM_TENTHS]
            enough = calm[place] and sum(following) >= CALM_SHARE * len(following)
            if enough and self._calm_second(load, at_ms):
                return at_ms
        return None

    def _calm_second(self, load: LoadResult, from_ms: float) -> bool:
        """Whether the next whole second fails no more than before; in a closed load, is as fast as before.

        Its backlog never exceeds its users, so there it tells nothing.
        """
        later = (s for s, start, _ in _bounds(load) if start >= from_ms - SAME_MS and s.phase == "measure")
        second = next(later, None)
        if second is None:
            return True
        share, p50_ms = _error_share([second]), _p50_ms([second])
        if share is None or share > self.errors + ERRORS_MORE:
            return False
        if not self.closed or self.p50_ms is None or p50_ms is None:
            return True
        return p50_ms <= max(P50_TIMES * self.p50_ms, self.p50_ms + P50_MORE_MS)


def _bounds(load: LoadResult) -> Iterator[tuple[Second, float, float]]:
    """Each second up to the window's end, with its own beginning and end, in ms of CLOCK_MONOTONIC."""
    warmup_ms, (start_ms, end_ms) = load.phases.warmup, load.window_ms
    if warmup_ms is None:
        return
    for second in load.seconds:
        begin_ms, until_ms = warmup_ms + 1000 * second.k, warmup_ms + 1000 * (second.k + 1)
        if second.phase == "warmup":
            yield second, begin_ms, min(until_ms, start_ms)
        elif second.phase == "measure":
            yield second, max(begin_ms, start_ms), min(until_ms, end_ms)


def _tenths(load: LoadResult) -> Iterator[tuple[float, int, int]]:
    """(when, requests in flight or without a connection, connections), at the end of each tenth."""
    for second, begin_ms, _ in _bounds(load):
        pairs = zip(second.backlog_tenths, second.connected_tenths, strict=True)
        for place, (backlog, connected) in enumerate(pairs, 1):
            if backlog is not None and connected is not None:
                yield begin_ms + place * TENTH_MS, backlog, connected


def seconds_outside(load: LoadResult, excluded: Sequence[Span]) -> list[Second]:
    """Return the seconds of the window that no part of these spans lies in, in order."""
    return [
        second
        for second, begin_ms, end_ms in _bounds(load)
        if second.phase == "measure" and not any(one.touches(begin_ms, end_ms) for one in excluded)
    ]


def unrecovered(trial: TrialRecord) -> bool:
    """Return whether an event that stalls answers still showed when the window ended."""
    found = [one for one in spans(trial) if one.of.stalls]
    return bool(found) and found[-1].recovered_ms is None


def event_figures(trial: TrialRecord) -> tuple[EventFigures, ...]:
    """Before, during and after every event of a trial, and the time to recover."""
    load, found = trial.load, spans(trial)
    if load is None:
        return ()
    start_ms, end_ms = load.window_ms
    edges = [start_ms, *(one.end_ms for one in found)]
    begins = [*(one.begin_ms for one in found[1:]), end_ms]
    return tuple(
        _figures(load, one, before_ms, after_ms)
        for one, before_ms, after_ms in zip(found, edges, begins, strict=False)
    )


def _figures(load: LoadResult, one: Span, before_ms: float, after_ms: float) -> EventFigures:
    healed_ms, start_ms = one.of.healed_ms, load.window_ms[0]
    waited_s = None if healed_ms is None or not one.told else (one.end_ms - healed_ms) / 1000
    recovered = one.recovered_ms is not None
    return EventFigures(
        says=one.of.says,
        begin_s=(one.begin_ms - start_ms) / 1000,
        healed_s=None if healed_ms is None else (healed_ms - start_ms) / 1000,
        recover_s=waited_s if recovered else None,
        not_within_s=None if recovered else waited_s,
        before=_part(load, before_ms, one.begin_ms),
        during=_part(load, one.begin_ms, one.end_ms, touching=True),
        after=_part(load, one.end_ms, after_ms) if recovered else EventPart(),
    )


def _part(load: LoadResult, from_ms: float, to_ms: float, *, touching: bool = False) -> EventPart:
    """Return the figures of the seconds within a span, or (`touching`) of those that touch it."""
    chosen = [
        (second, end_ms - begin_ms)
        for second, begin_ms, end_ms in _bounds(load)
        if second.phase == "measure"
        and (
            begin_ms < to_ms - SAME_MS and end_ms > from_ms + SAME_MS
            if touching
            else begin_ms >= from_ms - SAME_MS and end_ms <= to_ms + SAME_MS
        )
    ]
    if not chosen:
        return EventPart()
    seconds, length_s = [second for second, _ in chosen], sum(length for _, length in chosen) / 1000
    return EventPart(
        seconds=length_s,
        requests_per_s=_rate_per_s(seconds, length_s),
        response_ms=_response(seconds),
        errors=_error_share(seconds),
    )


def _rate_per_s(seconds: Sequence[Second], length_s: float) -> float | None:
    """Return the answers that came in these seconds, whenever their requests were meant, per second."""
    completed = [second.completed for second in seconds if second.completed is not None]
    return sum(completed) / length_s if len(completed) == len(seconds) else None


def _response(seconds: Sequence[Second]) -> Quantiles:
    return response_times(*seconds).quantiles()


def _p50_ms(seconds: Sequence[Second]) -> float | None:
    seen = merged(second.response_hdr for second in seconds)
    return seen.quantile_us(50.0) / 1000 if seen.samples >= FEWEST["p50"] else None


def _error_share(seconds: Sequence[Second]) -> float | None:
    """Failed or unsent requests as a share; None where there were none to answer."""
    meant = sum(second.intended for second in seconds)
    return sum(second.failed + second.unsent for second in seconds) / meant if meant else None
