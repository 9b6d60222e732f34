"""The shape of summary.json: the versioned contract that every report and every comparison reads.

Units are in the names; a figure that was not measured, or that the samples cannot support, is null.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from lab.common.figure import Figure
from lab.results.link import LinkRecord

# `fail` is the server's fault (it died), `invalid` the measurement's: the figures may not be believed.
# `limit` is a result: the server did less than was asked of it.
Level = Literal["ok", "limit", "suspect", "invalid", "unknown", "fail"]
VerdictWord = Literal["PASS", "FAIL", "INVALID", "INCONCLUSIVE", "UNKNOWN"]


class SummaryModel(BaseModel):
    """Frozen; more keys may come, these keep their names."""

    model_config = ConfigDict(frozen=True)


class Finding(SummaryModel):
    """What a check says of one trial (or, with `trial` null, of the run), and what to do about it.

    `expected` findings are known limits that were met: shown, never counted in the verdict.
    """

    check: str
    level: Level
    trial: str | None = None
    says: str
    do: str = ""
    value: float | None = None
    expected: bool = False


QuantileName = Literal["p50", "p90", "p95", "p99", "p999"]


class Quantiles(SummaryModel):
    """Milliseconds. p50 … p999 are null where there are too few samples to support them.

    A request without an answer would have taken longer than it waited, so p50 … p999 are those of `samples`
    answers and `unanswered` requests together. One that is named in `at_least` is a lower bound: so many had
    no answer that it is a waiting time of theirs; it is null where those are unknown. `mean` and `max` are
    those of the answers.
    """

    samples: int = 0
    unanswered: int = 0
    at_least: tuple[QuantileName, ...] = ()
    mean: float | None = None
    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None
    p999: float | None = None
    max: float | None = None


class Estimate(SummaryModel):
    """The median over the valid trials, and its exact order-statistic interval where there are enough (6)."""

    value: float | None = None
    ci95: tuple[float, float] | None = None


class Interval(SummaryModel):
    """What `n` trials say of their median: its exact 95 % interval from six on, below that the extremes.

    `low` and `high` are null where a trial's figure is a lower bound: nobody knows how high it is.
    """

    n: int
    low: float | None = None
    high: float | None = None


class Errors(SummaryModel):
    """Failed requests: the share of those meant for the window, and numbers by kind over the whole load.

    `users_left_out`: users that never had a connection. `rate` counts the share of the requests as failed
    that they are of the users: in a closed load they sent nothing, in an open one others sent theirs.
    """

    rate: float | None = None
    users_left_out: int | None = None
    by_kind: dict[str, int] = Field(default_factory=dict)


class LoadFigures(SummaryModel):
    """What the swarm alone can tell; `connections_peak` of a group is the client's count."""

    offered_per_s: float | None = None
    response_ms: Quantiles = Quantiles()
    service_ms: Quantiles = Quantiles()
    errors: Errors = Errors()
    connections_peak: int | None = None
    kept_up: bool | None = (
        None  # False: the backlog grew over the window; None where nothing arrives by the clock
    )


class GroupFigures(LoadFigures):
    """What one named group of the swarm saw in the window of one trial."""

    requests_per_s: float | None = None


class GroupSummary(LoadFigures):
    """The same over the trials: medians, as of the server."""

    requests_per_s: Estimate = Estimate()
    intervals: dict[str, Interval] = Field(default_factory=dict)


class EventPart(SummaryModel):
    """The whole seconds before, during or after a timed event; nothing where there is none."""

    seconds: float | None = None
    requests_per_s: float | None = None
    response_ms: Quantiles = Quantiles()
    errors: float | None = None


class EventFigures(SummaryModel):
    """One timed event: what it did to the load. Times are seconds after the start of the window.

    `recover_s`: from its end until the backlog was gone; `not_within_s`: that had not come so long after it.
    Both are null where its change stays, or where the swarm did not record its backlog.
    """

    says: str
    begin_s: float
    healed_s: float | None = None
    recover_s: float | None = None
    not_within_s: float | None = None
    before: EventPart = EventPart()
    during: EventPart = EventPart()
    after: EventPart = EventPart()


class ServerFigures(LoadFigures):
    """The figures that a trial and a server over its trials have in common: common.figures explains each.

    `cpu_at_least`: the CPU was full, so `cpu_us_per_request` is a lower bound. `busy_waits`: the model polls
    by design, and its CPU is full at every rate: it has `cpu_cores_waiting` in place of a cost per request.
    """

    sockets_peak: int | None = None
    cpu_us_per_request: float | None = None
    cpu_at_least: bool | None = None
    cpu_cores: float | None = None
    cpu_share: float | None = None
    cpu_cores_waiting: float | None = None
    busy_waits: bool = False
    memory_peak_bytes: float | None = None
    memory_bytes_per_connection: float | None = None
    pss_bytes_per_connection: float | None = None
    rss_bytes_per_connection: float | None = None
    switches_per_request: float | None = None
    syscalls_per_request: dict[str, float] = Field(default_factory=dict)
    wakeups_per_request: float | None = None
    ready_per_wakeup: float | None = None
    eagain_per_request: float | None = None
    signals_per_request: float | None = None
    completions_per_request: float | None = None
    threads_peak: float | None = None
    descriptors_peak: float | None = None
    listen_overflows: float | None = None
    retransmits: float | None = None
    marks: dict[str, str] = Field(default_factory=dict)  # figure → what must be said beside it


class TrialFigures(ServerFigures):
    """What one trial measured in its window."""

    trial: str
    status: Literal["ok", "failed"]
    reason: str | None = None
    requests_per_s: float | None = None
    connect_ms: Quantiles = Quantiles()
    cpu_source: str | None = None
    events: tuple[EventFigures, ...] = ()
    groups: dict[str, GroupFigures] = Field(default_factory=dict)


class ServerSummary(ServerFigures):
    """One server at one sweep point, over its trials: medians of per-trial figures, never pooled.

    `intervals`: by the name of a figure, where more than one trial has it.
    """

    server: str
    point: dict[str, Any] = Field(default_factory=dict)
    model: str | None = None
    family: str | None = None
    image: str | None = None
    trials: int = 0
    trials_valid: int = 0
    requests_per_s: Estimate = Estimate()
    intervals: dict[str, Interval] = Field(default_factory=dict)
    users: int | None = None
    refused_above: int | None = None
    served_at_once: int | None = None
    events: tuple[EventFigures, ...] = ()
    groups: dict[str, GroupSummary] = Field(default_factory=dict)
    per_trial: tuple[TrialFigures, ...] = ()


def figure_of(figures: LoadFigures, figure: Figure) -> float | None:
    """Return a figure's value: the middle of an estimate, the sum of a map; None if not measured."""
    value: object = figures
    for name in figure.path:
        value = getattr(value, name)
    if isinstance(value, Estimate):
        return value.value
    if isinstance(value, dict):
        return sum(value.values()) if value else None
    return float(value) if isinstance(value, int | float) else None


def at_limit(server: ServerSummary) -> bool:
    """Whether a server met a limit: on connections, how many it serves at once, its rate, or its CPU."""
    held_back = server.refused_above is not None or server.served_at_once is not None
    return held_back or server.kept_up is False or bool(server.cpu_at_least)


# Above the first share of its CPUs a server has no cost per request, only a lower bound; below the second it
# has air.
FULL_CPU, AIRY_CPU = 0.95, 0.85


def cpu_is_full(figures: ServerFigures) -> bool | None:
    """Whether the server used all of its CPUs, and not by polling; None where that is unknown."""
    return None if figures.cpu_share is None else figures.cpu_share > FULL_CPU and not figures.busy_waits


def cpu_is_nearly_full(figures: ServerFigures) -> bool:
    """Whether the server used nearly all of its CPUs: a mark on its cost per request."""
    share = figures.cpu_share
    return share is not None and AIRY_CPU <= share <= FULL_CPU and not figures.busy_waits


def rate_with_air(servers: Iterable[ServerSummary], server: str) -> float | None:
    """Return the greatest rate that a server did in the run with air left on its CPUs; None if none."""
    airy = (
        one.requests_per_s.value
        for one in servers
        if one.server == server and one.trials_valid and one.kept_up is not False and not one.busy_waits
        if one.cpu_share is not None and one.cpu_share < AIRY_CPU
    )
    return max((rate for rate in airy if rate is not None), default=None)


def is_lower_bound(figures: LoadFigures, figure: Figure) -> bool:
    """Whether a figure's value is a lower bound.

    A quantile that falls among requests without an answer; a CPU time per request of a full CPU.
    """
    owner: object = getattr(figures, figure.path[0])
    if isinstance(owner, Quantiles):
        return figure.path[-1] in owner.at_least
    return is_cpu_cost(figure) and isinstance(figures, ServerFigures) and bool(figures.cpu_at_least)


def is_cpu_cost(figure: Figure) -> bool:
    """Whether a figure is the CPU time per request, which a full CPU bounds."""
    return figure.name == "cpu_us_per_request"


def why_bound(metric: str) -> str:
    """Return why a figure of that name is a lower bound, after the name of whose it is."""
    return "the CPU was full" if metric == "cpu_us_per_request" else "too many requests without an answer"


class ThresholdResult(SummaryModel):
    """One threshold of a server at one sweep point.

    `ok`: it held in every valid trial. `told`: whether that can be told; a trial in which it failed tells it.
    `value` is that of the worst trial, a lower bound with `at_least`; `failed`: in how many trials it failed.
    """

    server: str
    metric: str
    threshold: str
    ok: bool
    told: bool = True
    value: float | None = None
    at_least: bool = False
    trial: str | None = None
    says: str = ""
    valid_trials: int | None = None
    failed: int | None = None


class LinkSummary(LinkRecord):
    """One link of one trial: its record."""

    model_config = ConfigDict(extra="ignore")

    trial: str


# `constant`: changes by less than a tenth over the sweep; `neither`: no line passes near the points.
GrowthLaw = Literal["constant", "linear", "falling", "undetermined", "neither"]


class CurvePoint(SummaryModel):
    """The median of the valid trials at one swept value, `x` in base units."""

    x: float
    value: float
    trials: int


class Growth(SummaryModel):
    """value = start + slope × (x − first x). `grown` is the whole sweep's, as a share of start."""

    law: GrowthLaw
    slope: float
    slope_ci95: tuple[float, float]
    start: float
    grown: float | None = None
    grown_ci95: tuple[float, float] | None = None


class Curve(SummaryModel):
    """One figure of one server against one swept path; `at` holds the other swept values.

    `limit_met_at`: the lowest swept value at which a limit of the server was met; its trials are left out.
    `lower_bound_at`: the lowest at which the figure is a lower bound in a trial, which is left out.
    """

    server: str
    path: str
    at: dict[str, str] = Field(default_factory=dict)
    metric: str
    unit: str
    points: tuple[CurvePoint, ...]
    growth: Growth | None = None
    limit_met_at: float | None = None
    lower_bound_at: float | None = None


class Summary(SummaryModel):
    """summary.json."""

    schema_version: Literal[1] = 1
    run: str
    scenario: str
    question: str = ""
    verdict: VerdictWord = "UNKNOWN"
    exit_code: int = 1
    stamps: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    checks: dict[str, dict[str, int]] = Field(default_factory=dict)
    thresholds: tuple[ThresholdResult, ...] = ()
    links: tuple[LinkSummary, ...] = ()
    servers: dict[str, ServerSummary] = Field(default_factory=dict)
    curves: tuple[Curve, ...] = ()
    environment: dict[str, Any] = Field(default_factory=dict)
