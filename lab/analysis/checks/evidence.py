"""What a check may look at: one trial's record with its figures, and the words it answers in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from lab.analysis import groups
from lab.analysis.checks.table import LIMITS
from lab.analysis.figures import figures
from lab.analysis.model import Level, TrialFigures
from lab.results.record import LoadResult, TrialRecord
from lab.scenario.load import OWN_USERS, load_of

SERVER = "server"


class NoData(Exception):
    """A check cannot tell: what it needs was not recorded. It becomes an `unknown` finding that says so."""


class Said(NamedTuple):
    """One thing a check has to say; the runner adds the check's name and the trial."""

    level: Level
    says: str
    do: str = ""
    value: float | None = None
    expected: bool = False


def graded(limit: str, value: float, says: str, do: str) -> Iterable[Said]:
    """What the table says of a value: nothing when it is fine; else `says` and the limits in words."""
    level = LIMITS[limit].grade(value)
    return () if level == "ok" else (Said(level, f"{says} ({LIMITS[limit].text()})", do, value),)


def both(absolute: tuple[str, float], relative: tuple[str, float], says: str, do: str) -> Iterable[Said]:
    """As `graded`, for a figure that must be beyond a limit in units and beyond one as a share to matter."""
    pairs = [(LIMITS[name], value) for name, value in (absolute, relative)]
    level = min((limit.grade(value) for limit, value in pairs), key=("ok", "suspect", "invalid").index)
    limits = "; and ".join(limit.text() for limit, _ in pairs)
    return () if level == "ok" else (Said(level, f"{says} ({limits})", do, absolute[1]),)


@dataclass(frozen=True)
class Evidence:
    """One trial. Everything here is data; missing data raises NoData, never counts as fine."""

    trial: TrialRecord
    figures: TrialFigures

    @property
    def load(self) -> LoadResult:
        """What the swarm measured."""
        if self.trial.load is None:
            raise NoData("the swarm's result is missing")
        return self.trial.load

    @property
    def result(self) -> Mapping[str, Any]:
        """Totals of the measured window."""
        return self.load.result

    @property
    def whole(self) -> Mapping[str, Any]:
        """Totals over all phases."""
        whole: Mapping[str, Any] | None = self.result.get("whole")
        if whole is None:
            raise NoData("the swarm's totals over all phases are missing")
        return whole

    @property
    def window_ms(self) -> tuple[float, float]:
        """Start and end of the measured window on CLOCK_MONOTONIC."""
        return self.load.window_ms

    @property
    def window_s(self) -> float:
        """Length of the measured window in seconds."""
        return (self.window_ms[1] - self.window_ms[0]) / 1000

    @property
    def measured(self) -> Sequence[Mapping[str, Any]]:
        """The `second` records of the measured window, in order."""
        return sorted((s for s in self.load.seconds if s["phase"] == "measure"), key=lambda s: float(s["k"]))

    @property
    def swarm(self) -> Mapping[str, Any]:
        """The swarm's part of the scenario, as resolved for this trial."""
        swarm: Mapping[str, Any] | None = self.trial.scenario.get("swarm")
        if swarm is None:
            raise NoData("the scenario was not kept with the record")
        return swarm

    @property
    def open_load(self) -> bool:
        """Whether arrivals come by the clock, whatever the server does."""
        return not load_of(self.swarm["load"]).is_closed

    @property
    def clients(self) -> Mapping[str, Any]:
        """What kinds of clients the users are; empty where all of them carry the load."""
        return self.swarm.get("clients") or {}

    @property
    def own_users(self) -> bool:
        """Whether the load is Locust users of the scenario's own locustfile, and not the lab's engine."""
        load = self.trial.scenario.get("swarm", {}).get("load", {})
        return bool(load.get("executor") == OWN_USERS)

    @property
    def parts(self) -> Mapping[str, Evidence]:
        """What there is of each named group of the swarm; of a swarm without groups, "" → all of it."""
        each = groups.parts(self.trial)
        return {name: Evidence(part, figures(part)) if name else self for name, part in each.items()}

    @property
    def settings(self) -> Mapping[str, Any]:
        """The server's part of the scenario."""
        servers: Mapping[str, Any] = self.trial.scenario.get("servers", {})
        settings: Mapping[str, Any] = servers.get(self.trial.server, {})
        return settings

    @property
    def expects(self) -> Mapping[str, int]:
        """The known limits that the scenario expects of this server: max_open, served_at_once."""
        expect = self.trial.scenario.get("expect", {}).get(self.trial.server, {})
        return {name: int(value) for name, value in expect.items() if value is not None}

    @property
    def isolated(self) -> bool:
        """Whether nodes have network namespaces and cgroups of their own: containers, not plain processes."""
        return "not isolated" not in self.trial.stamps

    def increase(self, node: str, source: str, metric: str) -> float:
        """Growth of a counter over the measured window."""
        grown = self.trial.series.increase(node, source, metric, self.window_ms)
        if grown is None:
            raise NoData(f"{source} {metric} of {node} was not sampled over the window")
        return grown

    def nodes(self, source: str) -> list[str]:
        """The nodes that a collector saw."""
        return sorted({node for node, from_, _ in self.trial.series.points if from_ == source})

    def metrics(self, node: str, source: str) -> list[str]:
        """What a collector sampled of a node."""
        return sorted(metric for n, from_, metric in self.trial.series.points if (n, from_) == (node, source))

    def highest(self, node: str, source: str, metric: str) -> float:
        """The most that was ever seen; 0 where it was not sampled."""
        return self.trial.series.highest(node, source, metric) or 0.0

    def growth(self, node: str, source: str, metric: str) -> float:
        """Growth of a counter over the whole trial; 0 where it was not sampled."""
        points = self.trial.series.get(node, source, metric)
        return points[-1][1] - points[0][1] if points else 0.0

    def errors(self, *kinds: str) -> int:
        """How many errors of these kinds (of any, without kinds) the swarm counted, over the whole load."""
        counted = self.result.get("errors", {})
        return sum(error_count(detail) for kind, detail in counted.items() if not kinds or kind in kinds)


def error_count(detail: Any) -> int:
    """The number in an entry of the swarm's `errors`: a number, or an object with `count`."""
    return int(detail["count"] if isinstance(detail, Mapping) else detail)


def percent(share: float) -> str:
    """`0.0123` → `1.23 %`, never in powers of ten."""
    return f"{share * 100:.3g} %" if share < 10 else f"{share * 100:,.0f} %"
