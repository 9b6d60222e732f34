"""Why, not only what: the model's own figures beside what they cost, in one table and in words.

The words name what differs together; they do not claim a proof. A difference is told when it is large: at
least 1.25 × in what a request costs, at least 1.5 × in a figure that may explain it. Servers that failed more
than 1 % of their requests are left out: what they answered is no fair sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lab.analysis.model import ServerSummary, Summary
from lab.report.content.text import NOTHING, count, memory, number, quantile, size

TELLING_COST, TELLING_CAUSE, TELLING_MS = 1.25, 1.5, 0.5
MOST_ERRORS = 0.01
MOST_CAUSES = 3

Pick = Callable[[ServerSummary], float | None]


@dataclass(frozen=True)
class Cost:
    """What is to be explained: its words, its figure, and the figures that may explain it."""

    says: str
    pick: Pick
    show: Callable[[float | None], str]
    causes: tuple[str, ...]
    least: float = 0.0


@dataclass(frozen=True)
class Cause:
    """A figure of the model: `{}` in `says` is the figure. `falls` where less of it costs more."""

    says: str
    pick: Pick
    show: Callable[[float | None], str] = number
    falls: bool = False
    least: float = 0.01


def syscalls(server: ServerSummary) -> float | None:
    """All system calls per request; None where they were not counted."""
    return sum(server.syscalls_per_request.values()) if server.syscalls_per_request else None


def overflows(server: ServerSummary) -> float | None:
    """The most accept-queue overflows in a trial."""
    return max((t.listen_overflows for t in server.per_trial if t.listen_overflows is not None), default=None)


CAUSES = {
    "syscalls": Cause("{} system calls a request", syscalls),
    "switches": Cause("{} context switches a request", lambda s: s.switches_per_request),
    "wakeups": Cause("{} wake-ups a request", lambda s: s.wakeups_per_request),
    "ready": Cause("{} ready descriptors a wake-up", lambda s: s.ready_per_wakeup, falls=True),
    "eagain": Cause("{} fruitless calls (EAGAIN) a request", lambda s: s.eagain_per_request),
    "threads": Cause("{} threads", lambda s: s.threads_peak, count),
    "overflows": Cause("{} accept-queue overflows", overflows, count),
    "cores": Cause("{} CPUs busy", lambda s: s.cpu_cores, least=0.5),
}  # fmt: skip

COSTS = (
    Cost("CPU time per request", lambda s: s.cpu_us_per_request, lambda v: f"{number(v)} µs",
         ("switches", "syscalls", "wakeups", "ready", "eagain")),
    Cost("Response time, p99", lambda s: s.response_ms.p99, lambda v: f"{number(v)} ms",
         ("overflows", "cores", "ready", "switches", "eagain"), TELLING_MS),
    Cost("Memory per connection", memory, size, ("threads",)),
)  # fmt: skip

HEADINGS = (
    "p50 [ms]", "p99 [ms]", "CPU [µs/request]", "switches /request", "ready /wake-up", "EAGAIN /request",
    "threads", "memory /connection", "queue overflows", "calls /request", "of them",
)  # fmt: skip


def row(server: ServerSummary) -> list[str]:
    """The cells under HEADINGS."""
    most = sorted(server.syscalls_per_request.items(), key=lambda item: (-item[1], item[0]))[:3]
    return [
        number(server.response_ms.p50),
        quantile(server.response_ms, "p99").split(" (")[0],
        number(server.cpu_us_per_request),
        number(server.switches_per_request),
        number(server.ready_per_wakeup),
        number(server.eagain_per_request),
        count(server.threads_peak),
        size(memory(server)),
        count(overflows(server)),
        number(syscalls(server)),
        ", ".join(f"{name}\u00a0{number(calls)}" for name, calls in most) or NOTHING,
    ]


def sentences(summary: Summary) -> list[str]:
    """For each cost whose extremes differ by much: who pays it, how much, and what differs with it."""
    if len(_comparable(summary)) < 2:
        return ["Fewer than two servers gave figures that may be compared, so none are."]
    return [sentence for cost in COSTS for sentence in _sentence(cost, summary)]


def _sentence(cost: Cost, summary: Summary) -> Iterator[str]:
    comparable = _comparable(summary).items()
    known = {name: value for name, server in comparable if (value := cost.pick(server)) is not None}
    if len(known) < 2:
        return
    low, high = min(known, key=lambda n: known[n]), max(known, key=lambda n: known[n])
    if known[high] - known[low] < cost.least or known[high] < TELLING_COST * max(known[low], 1e-9):
        return
    times = f"{number(known[high] / known[low])} ×" if known[low] > 0 else "more than"
    says = f"{cost.says}: {high} has {cost.show(known[high])}, {times} {low} ({cost.show(known[low])})."
    causes = list(_causes(cost, summary.servers[high], summary.servers[low]))[:MOST_CAUSES]
    if not causes:
        yield f"{says} None of the counted figures differs as much."
        return
    theirs, others = _and([cause[1] for cause in causes]), _and([cause[2] for cause in causes])
    yield f"{says} With it goes: {high} had {theirs}; {low} {others}."


def _causes(cost: Cost, high: ServerSummary, low: ServerSummary) -> Iterator[tuple[float, str, str]]:
    found = []
    for name in cost.causes:
        cause = CAUSES[name]
        more, less = cause.pick(high), cause.pick(low)
        if more is None or less is None:
            continue
        top, bottom = (less, more) if cause.falls else (more, less)
        ratio = top / bottom if bottom > 0 else (float("inf") if top > 0 else 1.0)
        if ratio >= TELLING_CAUSE and top >= cause.least:
            found.append((ratio, cause.says.format(cause.show(more)), cause.show(less)))
    yield from sorted(found, key=lambda item: -item[0])


def _comparable(summary: Summary) -> dict[str, ServerSummary]:
    """Servers that may be compared: believed, answering, and at one sweep point, the last of the plan."""
    last = list(summary.servers.values())[-1].point if summary.servers else {}
    return {
        name: server
        for name, server in summary.servers.items()
        if server.point == last and server.trials_valid and server.errors.rate <= MOST_ERRORS
    }


def _and(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
