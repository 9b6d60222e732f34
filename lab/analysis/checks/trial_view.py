"""What a check reads (one trial's record with its figures) and what it returns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from lab.analysis import groups
from lab.analysis.checks.limits import LIMITS
from lab.analysis.figures import figures
from lab.analysis.model import Level, TrialFigures
from lab.analysis.recovery import happenings, seconds_outside, spans
from lab.results.load import LoadResult, Second, SwarmResult, Totals
from lab.results.record import TrialRecord
from lab.scenario.load import OWN_USERS
from lab.scenario.scenario import Expect
from lab.scenario.swarm import Swarm

SERVER = "server"
T = TypeVar("T")
# How the record's warnings begin where a source has no data; those of other collectors name the collector.
NOT_VISIBLE = "the nodes' processes are not visible from here"
_WARNINGS = {
    "syscalls": ("system calls were not counted", NOT_VISIBLE),
    "server": ("the server's statistics break images/CONTRACT.md",),
    "cgroup": (NOT_VISIBLE,),
    "procfs": (NOT_VISIBLE,),
    "schedstat": (NOT_VISIBLE,),
    "sockets": (NOT_VISIBLE,),
}


class NoData(Exception):
    """What a check needs was not recorded. It becomes an `unknown` finding with this reason."""


class Result(NamedTuple):
    """One result of a check: what was seen, and what to do about it. The runner adds check and trial."""

    level: Level
    message: str
    remedy: str = ""
    value: float | None = None
    expected: bool = False
    trial: str | None = None  # of a check of the run: the trial that it is about


def graded(limit: str, value: float, message: str, remedy: str, more: str = "") -> Iterable[Result]:
    """Return nothing for a value within its limit, else the message with the limit that it is beyond.

    The limit stands behind the message, which ends with the figure that is judged; `more` follows the limit.
    """
    level = LIMITS[limit].grade(value)
    if level == "ok":
        return ()
    return (Result(level, f"{message} ({LIMITS[limit].crossed(level)}){more}", remedy, value),)


def both(
    absolute: tuple[str, float], relative: tuple[str, float], message: str, remedy: str
) -> Iterable[Result]:
    """As `graded`, for a figure that matters only beyond a limit in units and beyond one as a share."""
    pairs = [(LIMITS[name], value) for name, value in (absolute, relative)]
    level = min((limit.grade(value) for limit, value in pairs), key=("ok", "suspect", "invalid").index)
    if level == "ok":
        return ()
    first, second = (limit.crossed(level) for limit, _ in pairs)
    return (Result(level, f"{message} ({first} and {second.removeprefix('limit ')})", remedy, absolute[1]),)


@dataclass(frozen=True)
class TrialView:
    """One trial as checks see it: data only. Missing data raises NoData; it never counts as fine."""

    trial: TrialRecord
    figures: TrialFigures

    @property
    def load(self) -> LoadResult:
        """What the swarm measured."""
        if self.trial.load is None:
            raise NoData("the swarm's result is missing")
        return self.trial.load

    @property
    def result(self) -> SwarmResult:
        """Totals of the measured window."""
        return self.load.result

    @property
    def whole(self) -> Totals:
        """Totals over all phases."""
        if self.result.whole is None:
            raise NoData("the swarm's totals over all phases are missing")
        return self.result.whole

    @property
    def window_ms(self) -> tuple[float, float]:
        """Start and end of the measured window on CLOCK_MONOTONIC."""
        return self.load.window_ms

    @property
    def window_s(self) -> float:
        """Length of the measured window in seconds."""
        return (self.window_ms[1] - self.window_ms[0]) / 1000

    @property
    def measured(self) -> Sequence[Second]:
        """The `second` records of the measured window, in order."""
        return sorted((s for s in self.load.seconds if s.phase == "measure"), key=lambda s: s.k)

    @property
    def swarm(self) -> Swarm:
        """The swarm's part of the scenario, as resolved for this trial."""
        return self.trial.scenario.swarm

    @property
    def swarm_nodes(self) -> tuple[str, ...]:
        """The names of the swarm's nodes: the masters of its groups, and the workers."""
        return (*(group.master for group in self.swarm.all_groups), *self.swarm.worker_nodes)

    @property
    def open_load(self) -> bool:
        """Whether requests arrive by the clock, independent of the server."""
        return not self.swarm.load.is_closed

    @property
    def parts_per_request(self) -> int:
        """How many requests the server sees for one of the load: each resource of a page."""
        return len(self.swarm.page.paths) if self.swarm.page else 1

    @property
    def own_users(self) -> bool:
        """Whether the load is the scenario's own Locust users instead of the lab's engine."""
        return self.swarm.load.executor == OWN_USERS

    @property
    def parts(self) -> Mapping[str, TrialView]:
        """Named group → the trial as if the group were the whole swarm; without groups, "" → itself."""
        each = groups.parts(self.trial)
        return {name: TrialView(part, figures(part)) if name else self for name, part in each.items()}

    def calm(self, *, stalls_only: bool) -> Sequence[Second]:
        """Return the seconds of the window outside timed events (or those that stall answers)."""
        excluded = [one for one in spans(self.trial) if one.of.stalls or not stalls_only]
        if any(not one.told and one.of.healed_ms is not None for one in excluded):
            raise NoData("the backlog of an event was not recorded")
        return seconds_outside(self.load, excluded)

    @property
    def stalled(self) -> bool:
        """Whether an event kept answers away."""
        return any(one.stalls for one in happenings(self.trial))

    @property
    def lower_load(self) -> str:
        """How to ask less of this load."""
        if self.open_load:
            return "lower the rate"
        return "use fewer users" if self.own_users else "use fewer users, or a longer think time"

    @property
    def more_requests(self) -> str:
        """How to get more answers out of this load."""
        return "lengthen the window, or " + ("raise the rate" if self.open_load else "use more users")

    @property
    def expects(self) -> Mapping[str, int]:
        """The known limits that the scenario expects of this server: max_open, served_at_once."""
        expect = self.trial.scenario.expect.get(self.trial.server, Expect())
        return {name: value for name, value in expect if value is not None}

    @property
    def isolated(self) -> bool:
        """Whether nodes have their own network namespaces and cgroups: containers, not plain processes."""
        return "not isolated" not in self.trial.stamps

    def why_missing(self, source: str, default: str) -> str:
        """Return the recorded reason why a source gave no data; `default` where none was recorded."""
        begins = (f"collector {source}:", *_WARNINGS.get(source, ()))
        return next((warning for warning in self.trial.warnings if warning.startswith(begins)), default)

    def increase(self, node: str, source: str, metric: str) -> float:
        """Growth of a counter over the measured window."""
        grown = self.trial.series.increase(node, source, metric, self.window_ms)
        if grown is None:
            missing = f"{source} {metric} of {node} was not sampled over the window"
            raise NoData(self.why_missing(source, missing))
        return grown

    def nodes(self, source: str) -> list[str]:
        """Return the nodes that a collector saw."""
        return sorted({node for node, from_, _ in self.trial.series.points if from_ == source})

    def metrics(self, node: str, source: str) -> list[str]:
        """Return what a collector sampled of a node."""
        return sorted(metric for n, from_, metric in self.trial.series.points if (n, from_) == (node, source))

    def highest(self, node: str, source: str, metric: str) -> float:
        """Return the highest sample."""
        most = self.trial.series.highest(node, source, metric)
        return told(most, self.why_missing(source, f"{source} {metric} of {node} was not sampled"))

    def growth(self, node: str, source: str, metric: str) -> float:
        """Growth of a counter over the whole trial."""
        grown = self.trial.series.growth(node, source, metric)
        missing = f"{source} {metric} of {node} was not sampled over the trial"
        return told(grown, self.why_missing(source, missing))

    def errors(self, *kinds: str) -> int:
        """How many errors of these kinds (of any, without kinds) the swarm counted, over the whole load."""
        return sum(seen.count for kind, seen in self.result.errors.items() if not kinds or kind in kinds)


def told(value: T | None, missing: str) -> T:
    """Return a value that was recorded; raise NoData with the text `missing` for None."""
    if value is None:
        raise NoData(missing)
    return value
