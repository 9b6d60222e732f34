"""What the swarm measured, as images/CONTRACT.md has it: seconds, the window's result, phases.

Times of the clock are CLOCK_MONOTONIC in milliseconds (`_mono_ms`). A text `_hdr` is an HdrHistogram of
microseconds in its base64 V2 form. A figure that a swarm of an earlier version did not tell is None.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, field_validator
from pydantic.dataclasses import dataclass

from lab.results.base import Count, Number, RecordModel
from lab.results.hdr import slots


def _histogram(text: str) -> str:
    """Decode a histogram, so that all that read it can. Raises ValueError."""
    slots(text)
    return text


Histogram = Annotated[str, AfterValidator(_histogram)]


class Counts(RecordModel):
    """Requests and bytes of some time: a second, the window, or the whole load.

    A request belongs to the time that it was meant for, however late its answer (`answered`); `completed`
    counts the answers that came within this time, whenever they were asked for.

    Conservation: intended = sent + unsent, sent = answered + failed; of the whole load answered = completed.
    """

    intended: Count
    sent: Count
    answered: Count
    completed: Count | None = None
    failed: Count
    unsent: Count | None = None
    connects: Count | None = None
    bytes_in: Count | None = None
    bytes_out: Count | None = None
    under_way_s: Number | None = None  # of earlier versions: the sum of answer − intended send
    response_hdr: Histogram | None = None  # from the intended send
    service_hdr: Histogram | None = None  # from the actual send
    # How long those without an answer had waited: the failed, and for the response time the unsent too.
    response_censored_hdr: Histogram | None = None
    service_censored_hdr: Histogram | None = None
    parts_hdr: Mapping[str, Histogram] = Field(
        default_factory=dict
    )  # service time by the name of a page's part

    @property
    def done(self) -> int:
        """Answers that came within this time; where none were counted so, those to requests meant for it."""
        return self.answered if self.completed is None else self.completed


class Totals(Counts):
    """Sums over a time, with the number of errors by kind."""

    errors: Mapping[str, Count] = Field(default_factory=dict)


class Second(Totals):
    """One second of the load clock, cut where a phase ends inside it. `k` counts from the warm-up's start."""

    event: Literal["second"] = "second"
    mono_ms: Number | None = None
    k: Count
    phase: Literal["warmup", "measure", "cooldown"]
    unsent: Count
    connected: Count  # gauge: at the second's end
    in_flight: Count | None = None  # gauge: sent, without an outcome at the second's end
    queued: Count | None = None  # gauge: due, and without a free connection
    # At the end of each tenth of the second; None where no sample was taken.
    backlog_tenths: tuple[Count | None, ...] = ()  # requests in flight, or waiting for a connection
    connected_tenths: tuple[Count | None, ...] = ()
    response_hdr: Histogram
    service_hdr: Histogram
    lateness_hdr: Histogram | None = None  # as in SwarmResult
    lateness_generator_hdr: Histogram | None = None
    late_p99_us: Number | None = None  # actual − intended send
    loop_lag_p99_us: Number | None = None
    in_flight_area_s: Number | None = None  # request-seconds: the integral of the number in flight
    cpu_cores: tuple[Number, ...] = ()  # of each engine process, in the order of (worker, engine)
    lost_s: tuple[Number, ...] = ()  # within stalls of over 5 ms, of each engine process


class ErrorSeen(RecordModel):
    """The errors of one kind: how many, when the first and the last, and one of them in words."""

    count: Count
    first_mono_ms: Number | None = None
    last_mono_ms: Number | None = None
    example: str | None = None


class Worker(RecordModel):
    """One worker of the swarm, its own process counted in beside its engines. `index` is its group's."""

    index: Count
    node: str | None = None  # which node, where the swarm has groups
    pid: Count
    engine_pids: tuple[Count, ...] = ()
    cpu_user_us: Number
    cpu_system_us: Number
    loop_lag_p99_us: Number  # since the load clock started
    connected: Count
    sent: Count
    answered: Count
    failed: Count


class LocustCount(RecordModel):
    """Locust's own accounting, over all phases."""

    requests: Count
    failures: Count


class SlowCount(RecordModel):
    """Requests of slow clients, which are no part of the load: answered, and ended by the server."""

    answered: Count
    ended: Count


class Timing(RecordModel):
    """Where times come from: the lab's engine, or Locust users of one's own."""

    source: str
    resolution_us: Number | None = None
    response_from: str | None = None


class SwarmResult(Counts):
    """The sums over the measured window, and what is told of the load as a whole.

    `errors` covers all phases, `whole` holds the sums over them. `connected_peak` is the most connections
    that were open at once on the client's side.
    """

    event: Literal["result"] = "result"
    mono_ms: Number | None = None
    window_mono_ms: tuple[Number, Number]
    unsent: Count
    in_flight_start: Count | None = None  # sent, without an outcome when the window opened
    in_flight_end: Count | None = None  # … and when it closed
    queued_start: Count | None = None  # due, and without a free connection
    queued_end: Count | None = None
    in_flight_area_s: Number | None = None  # booked at each change of the number in flight
    in_flight_parts_s: Number | None = None  # the same area, summed request by request
    response_hdr: Histogram
    service_hdr: Histogram
    lateness_hdr: Histogram | None = None  # actual − intended send
    # The same without the time in which no connection was free: what the generator itself was late.
    lateness_generator_hdr: Histogram | None = None
    connect_ms_hdr: Histogram | None = None  # microseconds, whatever its name says
    whole: Totals | None = None
    connected_peak: Count
    late_p99_us: Number | None = None
    loop_lag_p99_us: Number | None = None
    workers: tuple[Worker, ...] = ()
    errors: Mapping[str, ErrorSeen] = Field(default_factory=dict)
    locust: LocustCount | None = None
    slow: SlowCount | None = None
    timing: Timing | None = None

    @field_validator("window_mono_ms")
    @classmethod
    def _ordered(cls, window: tuple[float, float]) -> tuple[float, float]:
        """Its end is after its start. Raises ValueError."""
        if window[1] <= window[0]:
            raise ValueError(f"it ends at {window[1]:g}, not after its start at {window[0]:g}")
        return window


class Phases(RecordModel):
    """When each phase of the load began, in milliseconds of CLOCK_MONOTONIC; None for one that never did.

    `held`: all connections are open, and the swarm's groups wait for each other.
    """

    spawn: Number | None = None
    held: Number | None = None
    warmup: Number | None = None
    measure: Number | None = None
    cooldown: Number | None = None
    drain: Number | None = None
    done: Number | None = None

    @property
    def begun(self) -> dict[str, float]:
        """The phases that began, in the order of the load."""
        times = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: time for name, time in times.items() if time is not None}


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class LoadResult:
    """What the swarm measured. Of named groups it is the sum of all; `groups` holds what each measured."""

    result: SwarmResult
    seconds: tuple[Second, ...]
    phases: Phases
    groups: Mapping[str, LoadResult] = Field(default_factory=dict)

    @property
    def window_ms(self) -> tuple[float, float]:
        """Start and end of the measured window on CLOCK_MONOTONIC."""
        return self.result.window_mono_ms
