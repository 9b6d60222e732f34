"""The one table of limits: beyond which a figure is suspect, beyond which invalid, and the source."""

from __future__ import annotations

from dataclasses import dataclass

from lab.analysis.limits import BACKLOG_SHARE
from lab.analysis.model import FULL_CPU, Level
from lab.common.units import show_plain


@dataclass(frozen=True)
class Limit:
    """One row: a value above `suspect` is suspect, above `invalid` invalid; with `below`, a value below.

    A value above `limit` is a result: the server's limit.
    """

    name: str
    suspect: float | None
    invalid: float | None
    unit: str
    source: str
    below: bool = False
    of: str = ""  # what a share is a share of
    limit: float | None = None

    def grade(self, value: float) -> Level:
        """Return the level of a value. NaN is beyond every limit."""
        if self._beyond(value, self.invalid):
            return "invalid"
        if self._beyond(value, self.suspect):
            return "suspect"
        return "limit" if self._beyond(value, self.limit) else "ok"

    def _beyond(self, value: float, limit: float | None) -> bool:
        if limit is None:
            return False
        return not (value >= limit if self.below else value <= limit)

    def text(self) -> str:
        """`suspect above 1 ms, invalid above 5 ms`; a limit that is both is written once."""
        word = "below" if self.below else "above"
        if self.suspect is not None and self.suspect == self.invalid:
            return f"suspect or invalid {word} {self._show(self.suspect)}"
        parts = [("a limit", self.limit), ("suspect", self.suspect), ("invalid", self.invalid)]
        return ", ".join(f"{level} {word} {self._show(v)}" for level, v in parts if v is not None)

    def crossed(self, level: Level) -> str:
        """Return the limit that a value of this level is beyond: `limit 5 ms`, `limit 0`."""
        limit = {"invalid": self.invalid, "limit": self.limit}.get(level, self.suspect)
        return "limit 0" if not limit else f"limit {self._show(limit)}"

    def _show(self, value: float) -> str:
        shown = f"{show_plain(value * 100)} %" if self.unit == "share" else f"{show_plain(value)} {self.unit}"
        return f"{shown} of {self.of}" if self.of else shown.strip()


_ROWS = (
    # load
    Limit("offered_load", 0.99, 0.95, "share", "k6 dropped_iterations, wrk2", below=True),
    Limit("connections_reached", 0.99, 0.95, "share", "as offered_load, for connections", below=True),
    Limit("backlog", None, None, "share", "ours", of="the window's requests", limit=BACKLOG_SHARE),
    Limit("lateness_p99_ms", 1.0, 5.0, "ms", "Lancet; Treadmill"),
    Limit("lateness_of_p50", 0.10, 0.25, "share", "Lancet; Treadmill", of="p50"),
    Limit("omission_ratio", 2.0, None, "times", "Tene; wrk2"),
    Limit("little_law", 0.01, 0.05, "share", "Little 1961"),
    Limit("outcomes_missing", None, 0.0, "requests", "conservation: Jepsen"),
    Limit("seconds_missing", None, 0.0, "", "conservation: Jepsen"),
    Limit("server_count", 0.0, 0.001, "share", "conservation: SIGPLAN empirical checklist; Jepsen"),
    Limit("server_window", 0.005, 0.02, "share", "as server_count, within the window; ours"),
    Limit("locust_count", 0.001, 0.01, "share", "conservation: events on their way to Locust"),
    Limit("error_rate", 0.001, 0.01, "share", "SIGPLAN empirical checklist"),
    Limit("drift_share", 0.05, 0.10, "share", "Georges 2007", of="the median"),
    Limit("drift_ms", 0.5, 0.5, "ms", "Georges 2007"),
    Limit("samples", 2_000, 200, "samples", "order statistics: fewest for p95, for p90", below=True),
    Limit("window_s", 5.0, 2.0, "s", "two halves of at least a second; ours", below=True),
    # generator
    Limit("generator_cpu", 0.70, 0.90, "share", "Locust's 90 %; Treadmill"),
    Limit("loop_lag_p99_ms", 5.0, 20.0, "ms", "Locust; Treadmill"),
    Limit("generator_stalls", 0.02, 0.05, "share", "ours; Treadmill", of="the window"),
    Limit("generator_ceiling", 0.80, 0.95, "share", "saturation in the load's own shape; ours"),
    Limit("real_time_throttled_ms", None, 0.0, "ms", "cpu.rt_runtime_us, /proc/PID/schedstat; ours"),
    Limit("client_exhausted", None, 0.0, "errors", "ports and descriptors: ip(7), EMFILE"),
    # server
    Limit("cpu_full", None, None, "share", "ours", of="its CPUs", limit=FULL_CPU),
    Limit("throttled", 0.01, 0.10, "share", "cgroup cpu.stat nr_throttled / nr_periods"),
    Limit("oom_kills", None, 0.0, "kills", "cgroup memory.events"),
    Limit("swapped_pages", None, 0.0, "pages", "proc_vmstat(5) pswpin, pswpout"),
    Limit("wrong_answers", None, 0.0, "answers", "TechEmpower's verification"),
    # links and kernel
    Limit("event_ms", 50.0, None, "ms", "ours"),
    Limit("event_share", 0.05, 0.20, "share", "ours", of="its `for`"),
    Limit("link_delay_ms", 1.0, 2.0, "ms", "Mininet-HiFi"),
    Limit("link_delay_share", 0.05, 0.10, "share", "Mininet-HiFi", of="the request"),
    Limit("link_rate", 0.05, 0.10, "share", "Mininet-HiFi"),
    Limit("link_loss", 0.99, 0.9999, "share", "confidence of the exact binomial test"),
    Limit("link_drops", None, 0.0, "packets", "tc-netem(8) limit; nfnetlink_queue counters"),
    Limit("delayline_lateness_p99_ms", 1.0, 3.0, "ms", "verdict against due time; ours"),
    Limit("kernel_counter", 0.0, None, "events", "proc_net(5), netstat(8)"),
    # host
    Limit("steal", 0.01, 0.05, "share", "pyperf"),
    Limit("foreign_cpu", 0.10, 0.30, "share", "CPU time that was neither idle nor the lab's; ours"),
    Limit("run_delay", 0.01, 0.05, "share", "/proc/PID/schedstat: time on the run queue; pyperf, ours"),
    Limit("clock_step_ms", 100.0, None, "ms", "CLOCK_REALTIME against CLOCK_MONOTONIC; NTP slews by 0.05 %"),
    Limit("suspended_ms", None, 10.0, "ms", "CLOCK_BOOTTIME against CLOCK_MONOTONIC"),
    Limit("sampling_gap_s", 1.5, 2.0, "s", "samples are taken every second; Locust"),
    Limit("mark_late_ms", 50.0, None, "ms", "0.5 % of a window of 10 s; ours"),
    Limit("sampler_stalls", 0.02, None, "share", "as generator_stalls", of="the window"),
    Limit("sampling_cost", 0.20, None, "share", "time spent sampling; ours"),
    Limit("response_bytes", 0.01, 0.01, "share", "Heiser, systems benchmarking crimes"),
)  # fmt: skip

LIMITS = {limit.name: limit for limit in _ROWS}
