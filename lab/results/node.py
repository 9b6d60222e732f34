"""What is kept of a trial's nodes: what the server printed, right answers, how nodes ended, timed events.

Times of the clock are CLOCK_MONOTONIC in milliseconds (`_mono_ms`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field

from lab.common.cpus import cpu_list
from lab.results.base import Count, Flag, Number, RecordModel, Whole


def _cpus(text: str) -> str:
    cpu_list(text)
    return text


Cpus = Annotated[str, AfterValidator(_cpus)]


class PrintedByServer(RecordModel):
    """A line of a server. Images of one's own may print more: images/CONTRACT.md keeps unknown keys."""

    model_config = ConfigDict(extra="allow")

    mono_ms: Number | None = None


class ServerReady(PrintedByServer):
    """The server listens. `backlog` is what the kernel granted."""

    event: Literal["ready"] = "ready"
    model: str | None = None
    wire: str | None = None
    handler: str | None = None
    host: str | None = None
    port: Count | None = None
    pid: Count | None = None
    backlog: Count | None = None
    stats_signal: Literal["SIGUSR2"] | None = None  # makes it print its statistics; None: it cannot be asked


class ServerStats(PrintedByServer):
    """The server's totals since its start, once a second and once more as it stops.

    A counter that the server does not print is None.
    """

    event: Literal["stats", "stopped"] = "stats"
    mono_ms: Number
    accepted: Count | None = None
    closed: Count | None = None
    open: Count | None = None  # gauge: connections now
    open_peak: Count | None = None
    requests: Count | None = None  # answered: the last byte was handed to the kernel
    errors: Mapping[str, Count] = Field(default_factory=dict)  # kind → number
    cpu_user_us: Number | None = None
    cpu_system_us: Number | None = None
    asked: Flag | None = None  # True: it answers a request, and all counters are of that moment


class AnswerCheck(RecordModel):
    """One question that a verification asked the server."""

    name: str
    ok: Flag
    says: str = ""


class Verification(RecordModel):
    """Right-answer checks over fresh connections, before or after the load.

    `requests`: how many of its requests the server counted; a verification that failed cannot tell.
    """

    event: Literal["verified"] = "verified"
    mono_ms: Number | None = None
    when: Literal["before", "after"] | None = None
    ok: Flag
    requests: Count | None = None
    checks: tuple[AnswerCheck, ...] = ()


class NodeEnd(RecordModel):
    """How a node ended. `signal` is a name (SIGKILL) or None; `oom` is None where nobody can tell.

    `early`, of the server: it ended before it was told to.
    """

    code: Whole
    signal: str | None = None
    oom: Flag | None = None
    early: Flag | None = None


class TimedEvent(RecordModel):
    """One thing that the scenario's timeline did: what, when it was due and when it was done."""

    what: str
    target: str
    wanted_mono_ms: Number
    actual_mono_ms: Number | None = None
    error: str | None = None


# The begins of the ramp and of the warm-up, and both ends of the window.
MarkName = Literal["ramp", "warmup", "measure", "end"]


class Mark(RecordModel):
    """A moment at which every collector was to sample, and the server to print its statistics.

    `taken_mono_ms`: collector → when it really did; `server`: when the server read its counters. A source
    that is not there was not sampled for the mark.
    """

    what: MarkName
    asked_mono_ms: Number
    taken_mono_ms: Mapping[str, Number] = Field(default_factory=dict)


class Scheduled(RecordModel):
    """How a process that the load depends on is scheduled, by the names of sched(7).

    A worker or an agent tells of its engine or delay line; `pid` is the node's own. With `asked` the process
    was to be real-time; `why_not`: why it was not, or could not become so by itself.
    """

    event: Literal["scheduled"] = "scheduled"
    mono_ms: Number | None = None
    task: str  # `engine 0`, `delay line`, `users`
    asked: Flag
    pid: Count
    policy: str
    why_not: str | None = None


class ProcessClass(RecordModel):
    """The scheduling policy of one process of a trial, at its start and at the end of the load.

    `pid` is that on the host, None where it is hidden. `by` tells who made it real-time: it asked itself
    ("inside"), or the lab did ("outside"). Its class may run for `runtime_us` in every `period_us` on a CPU.
    """

    node: str
    task: str  # `server` too
    pid: Count | None = None
    policy: str | None = None
    policy_at_end: str | None = None
    by: Literal["inside", "outside"] | None = None
    why_not: str | None = None
    runtime_us: Count | None = None
    period_us: Count | None = None


def engine_policy(scheduling: Iterable[ProcessClass] | None) -> str | None:
    """Return the policy of all engines of a swarm, `mixed` if they differ, None where it was not recorded."""
    policies = {one.policy for one in scheduling or () if one.task.startswith(("engine ", "users"))}
    return policies.pop() if len(policies) == 1 else "mixed" if policies else None


class CpuPlacement(RecordModel):
    """CPU lists such as `0,2-3`: the server's own and all others'. `overlap`: there was one CPU for both."""

    server: Cpus
    swarm: Cpus
    overlap: Flag = False


class CpuSet(RecordModel):
    """On which CPUs a node was to run, and may run: its control group, and all its processes together."""

    node: str
    when: Literal["before", "after"]
    asked: Cpus
    group: Cpus | None = None
    processes: Cpus | None = None


class Calibration(RecordModel):
    """The most that the swarm does on this host, in requests per second, or why that is not known.

    Shares are of the CPUs of each side, medians over seconds, as `rate_per_s` is; `ceiling_per_s` is of the
    best second. `disturbed`: what else was at work on the host; `policy`: how its engines were scheduled.
    """

    ceiling_per_s: Number | None = None
    rate_per_s: Number | None = None
    swarm_cpu_share: Number | None = None
    server_cpu_share: Number | None = None
    limited_by: Literal["swarm", "server", "neither"] | None = None
    server: str | None = None
    handler: str | None = None
    disturbed: str | None = None
    policy: str | None = None
    measured_by: str | None = None
    why_not: str | None = None


class Aborted(RecordModel):
    """The threshold with `abort_on_fail` that ended a trial or a run, and the figure that it saw."""

    metric: str
    threshold: str
    value: Number | None = None
    says: str
