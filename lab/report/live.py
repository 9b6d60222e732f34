"""What people see while a run goes on: a live panel on a terminal, plain lines elsewhere (pipes, CI)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from lab.analysis.histogram import decode, quantiles
from lab.analysis.model import Quantiles
from lab.record import TrialRecord
from lab.report.text import NOTHING, clean, number, quantile, size

Clock = Callable[[], float]
PLAIN_EVERY_S = 5.0
REFRESH_PER_S = 4
GAUGES = {"server_cpu_cores": "server CPU [cores]", "server_memory_bytes": "server memory"}


class View(Protocol):
    """Shows a run. Calls come from the runtime's threads as well as from the caller's own."""

    def trial_started(self, index: int, total: int, trial_id: str) -> None:
        """A trial begins; `index` counts from 1."""

    def step(self, text: str) -> None:
        """A step of the run or of a trial."""

    def event(self, event: Mapping[str, Any]) -> None:
        """An event of the swarm's master (images/CONTRACT.md): phases, progress, lost workers."""

    def gauge(self, name: str, value: float) -> None:
        """A figure of this moment: `server_cpu_cores`, `server_memory_bytes`."""

    def trial_ended(self, record: TrialRecord) -> None:
        """A trial is over."""

    def close(self) -> None:
        """Nothing more will be shown."""

    def __enter__(self) -> View: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def make_view(
    console: Console, plain: bool, clock: Clock = time.monotonic, trial_s: float | None = None
) -> View:
    """A live panel, or plain lines: one per step and phase, and one every 5 s of load.

    `trial_s` is about how long a trial will take: what remains is told from it until the first has ended.
    """
    return PlainView(console, clock, trial_s) if plain else LiveView(console, clock, trial_s)


@dataclass
class State:
    """What is known of the run at this moment."""

    started_s: float
    expected_trial_s: float | None = None
    index: int = 0
    total: int = 0
    trial: str = ""
    trial_started_s: float = 0.0
    phase: str = ""
    doing: str = ""
    progress: Mapping[str, Any] = field(default_factory=dict)
    gauges: dict[str, float] = field(default_factory=dict)
    trial_took_s: list[float] = field(default_factory=list)
    finished: list[tuple[str, str]] = field(default_factory=list)

    def begin(self, index: int, total: int, trial: str, now_s: float) -> None:
        """A new trial: nothing of the last one is left on show."""
        self.index, self.total, self.trial, self.trial_started_s = index, total, clean(trial), now_s
        self.phase, self.doing, self.progress, self.gauges = "", "", {}, {}

    def remaining_s(self, now_s: float) -> float | None:
        """From the mean duration of the trials so far; before the first has ended, from what was expected."""
        took_s = self.trial_took_s or ([self.expected_trial_s] if self.expected_trial_s else [])
        if not took_s:
            return None
        each_s = sum(took_s) / len(took_s)
        left = self.total - self.index + (1 if self.trial else 0)
        return max(0.0, left * each_s - (now_s - self.trial_started_s if self.trial else 0.0))


class _Base:
    """What both views share: state under a lock."""

    def __init__(self, console: Console, clock: Clock, trial_s: float | None = None) -> None:
        self._console, self._clock = console, clock
        self._lock = threading.RLock()
        self.state = State(clock(), trial_s)

    def __enter__(self) -> View:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Nothing to end."""

    def trial_started(self, index: int, total: int, trial_id: str) -> None:
        """See View."""
        with self._lock:
            self.state.begin(index, total, trial_id, self._clock())
            self._changed(f"[{index}/{total}] {clean(trial_id)}{_left(self.state, self._clock())}")

    def step(self, text: str) -> None:
        """See View."""
        with self._lock:
            self.state.doing = clean(text)
            self._changed(self._indent() + self.state.doing)

    def event(self, event: Mapping[str, Any]) -> None:
        """See View."""
        with self._lock:
            kind = event.get("event")
            if kind == "phase":
                self._phase(clean(event["phase"]))
            elif kind == "worker_lost":
                lost = f"worker-{event.get('worker_index')} lost: {event.get('says', '')}"
                self._changed("  " + clean(lost))
            elif kind == "progress":
                self.state.progress = event
                self._phase(clean(event.get("phase", self.state.phase)))
                self._progressed()

    def gauge(self, name: str, value: float) -> None:
        """See View."""
        with self._lock:
            self.state.gauges[name] = value

    def trial_ended(self, record: TrialRecord) -> None:
        """See View."""
        with self._lock:
            self.state.trial_took_s.append(self._clock() - self.state.trial_started_s)
            says = outcome(record)
            self.state.finished.append((clean(record.id), says))
            self.state.trial = ""
            self._changed(f"  {says}")

    def _phase(self, phase: str) -> None:
        if phase != self.state.phase:
            self.state.phase = phase
            self._changed(f"  {phase}")

    def _indent(self) -> str:
        return "  " if self.state.trial else ""

    def _changed(self, line: str) -> None:
        """Something that a reader of plain lines must see."""
        raise NotImplementedError

    def _progressed(self) -> None:
        """New progress figures."""
        raise NotImplementedError


class PlainView(_Base):
    """One line per change, and one every few seconds of load: readable in a log, and greppable."""

    def __init__(self, console: Console, clock: Clock, trial_s: float | None = None) -> None:
        super().__init__(console, clock, trial_s)
        self._told_s = clock()

    def _changed(self, line: str) -> None:
        self._told_s = self._clock()
        self._print(line)

    def _progressed(self) -> None:
        if self._clock() - self._told_s >= PLAIN_EVERY_S:
            self._told_s = self._clock()
            figures = progress_cells(self.state.progress) | gauge_cells(self.state.gauges)
            self._print("    " + "  ".join(f"{name} {value}" for name, value in figures.items()))

    def _print(self, line: str) -> None:
        elapsed = duration(self._clock() - self.state.started_s)
        self._console.print(Text(f"{elapsed:>7}  {line}"), soft_wrap=True, highlight=False)


class LiveView(_Base):
    """A panel that is redrawn in place; finished trials stay above the running one."""

    def __init__(self, console: Console, clock: Clock, trial_s: float | None = None) -> None:
        super().__init__(console, clock, trial_s)
        self._live = Live(
            get_renderable=self._render, console=console, refresh_per_second=REFRESH_PER_S, transient=True
        )

    def __enter__(self) -> View:
        self._live.start()
        return self

    def close(self) -> None:
        """Take the panel off the screen."""
        self._live.stop()

    def _changed(self, line: str) -> None:
        del line

    def _progressed(self) -> None:
        """The next refresh shows it."""

    def _render(self) -> Group:
        with self._lock:
            return panel(self.state, self._clock(), self._console.height)


def panel(state: State, now_s: float, height: int) -> Group:
    """The whole panel, as high as the terminal allows."""
    lines: list[Text | Table] = []
    room = max(1, height - 10)
    hidden = len(state.finished) - room
    if hidden > 0:
        lines.append(Text(f"… {hidden} finished before", style="dim"))
    lines += [_finished_line(trial, says) for trial, says in state.finished[-room:]]
    elapsed = f"{duration(now_s - state.started_s)} elapsed{_left(state, now_s)}"
    if not state.trial:
        return Group(*lines, Text(f"{state.doing or 'preparing'} · {elapsed}", style="bold"))
    lines.append(Text(f"[{state.index}/{state.total}] {state.trial} · {elapsed}", style="bold"))
    doing = state.phase or state.doing
    lines.append(Text(f"  {doing} · {duration(now_s - state.trial_started_s)} in this trial", style="cyan"))
    cells = progress_cells(state.progress) | gauge_cells(state.gauges)
    if cells:
        grid = Table.grid(padding=(0, 2))
        for name, value in cells.items():
            grid.add_row(Text(f"  {name}", style="dim"), Text(value, justify="right"))
        lines.append(grid)
    return Group(*lines)


def _finished_line(trial: str, says: str) -> Text:
    return Text.assemble(
        ("✓ " if not says.startswith("failed") else "✗ ", "dim"), trial, ("  " + says, "dim")
    )


def progress_cells(progress: Mapping[str, Any]) -> dict[str, str]:
    """The figures of a `progress` event, named and formatted; absent ones are left out."""
    cells = {}
    if "connected" in progress:
        cells["connected"] = f"{progress['connected']:,} of {progress.get('users', 0):,}"
    if progress.get("requests_per_s") is not None:
        cells["requests/s"] = number(progress["requests_per_s"])
    for name in ("p50", "p99"):
        if progress.get(f"response_{name}_ms") is not None:
            cells[f"{name} [ms]"] = number(progress[f"response_{name}_ms"])
    if "failed" in progress:
        cells["failed"] = f"{progress['failed']:,}"
    return cells


def gauge_cells(gauges: Mapping[str, float]) -> dict[str, str]:
    """The server's CPU and memory."""
    cells = {}
    if "server_cpu_cores" in gauges:
        cells[GAUGES["server_cpu_cores"]] = number(gauges["server_cpu_cores"])
    if "server_memory_bytes" in gauges:
        cells[GAUGES["server_memory_bytes"]] = size(gauges["server_memory_bytes"])
    return cells


def outcome(record: TrialRecord) -> str:
    """A finished trial in one line."""
    if record.load is None or record.status == "failed":
        return f"failed: {clean(record.reason or 'no measurement')}"
    result, (start, end) = record.load.result, record.load.window_ms
    response = quantiles(decode(result["response_hdr"]))
    rate = number(int(result["answered"]) / (end - start) * 1000) if end > start else NOTHING
    times = ", ".join(f"{name} {_ms(response, name)}" for name in ("p50", "p99"))
    return f"{rate} requests/s, {times}, {int(result['failed']):,} failed"


def _ms(response: Quantiles, name: str) -> str:
    shown = quantile(response, name)
    return shown if getattr(response, name) is None else f"{shown} ms"


def duration(seconds: float) -> str:
    """`7s`, `1:05`, `1:02:03`."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes}:{rest:02}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _left(state: State, now_s: float) -> str:
    left_s = state.remaining_s(now_s)
    return "" if left_s is None else f", about {duration(left_s)} left"
