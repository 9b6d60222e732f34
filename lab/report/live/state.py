"""What is known of a run while it goes on, and how it is written: figures in words, without any terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rich.console import Group
from rich.table import Table
from rich.text import Text

from lab.analysis.histogram import response_times
from lab.analysis.model import QuantileName, Quantiles
from lab.report.content.text import NOTHING, clean, number, quantile, size
from lab.results.record import TrialRecord
from lab.results.swarm_event import Progress

LOADED = ("spawn", "warmup", "measure", "cooldown", "drain")
MOST_EVENTS = 3
GAUGES = {"server_cpu_cores": "server CPU [cores]", "server_memory_bytes": "server memory"}


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
    progress: Progress | None = None
    gauges: dict[str, float] = field(default_factory=dict)
    trial_took_s: list[float] = field(default_factory=list)
    finished: list[tuple[str, str]] = field(default_factory=list)
    happened: list[tuple[float, str]] = field(default_factory=list)

    def begin(self, index: int, total: int, trial: str, now_s: float) -> None:
        """Begin a new trial: nothing of the last one is left on show."""
        self.index, self.total, self.trial, self.trial_started_s = index, total, clean(trial), now_s
        self.phase, self.doing, self.progress, self.gauges, self.happened = "", "", None, {}, []

    def step(self, text: str, now_s: float) -> None:
        """Show what goes on now; under load it happens beside the load, which goes on."""
        if self.trial and self.phase in LOADED:
            self.happened.append((now_s - self.trial_started_s, clean(text)))
        else:
            self.doing = clean(text)

    def enter(self, phase: str) -> None:
        """Show that a phase of the load begins."""
        self.phase = self.doing = clean(phase)

    def remaining_s(self, now_s: float) -> float | None:
        """From the mean duration of the trials so far; before the first has ended, from what was expected."""
        took_s = self.trial_took_s or ([self.expected_trial_s] if self.expected_trial_s else [])
        if not took_s:
            return None
        each_s = sum(took_s) / len(took_s)
        left = self.total - self.index + (1 if self.trial else 0)
        return max(0.0, left * each_s - (now_s - self.trial_started_s if self.trial else 0.0))


def panel(state: State, now_s: float, height: int) -> Group:
    """Return the whole panel, as high as the terminal allows."""
    lines: list[Text | Table] = []
    room = max(1, height - 10 - MOST_EVENTS)
    hidden = len(state.finished) - room
    if hidden > 0:
        lines.append(Text(f"… {hidden} finished before", style="dim"))
    lines += [_finished_line(trial, says) for trial, says in state.finished[-room:]]
    elapsed = f"{duration(now_s - state.started_s)} elapsed{left(state, now_s)}"
    if not state.trial:
        return Group(*lines, Text(f"{state.doing or 'preparing'} · {elapsed}", style="bold"))
    lines.append(Text(f"[{state.index}/{state.total}] {state.trial} · {elapsed}", style="bold"))
    in_trial = f"{duration(now_s - state.trial_started_s)} in this trial"
    lines.append(Text(f"  {state.doing} · {in_trial}", style="cyan"))
    cells = progress_cells(state.progress) | gauge_cells(state.gauges)
    if cells:
        grid = Table.grid(padding=(0, 2))
        for name, value in cells.items():
            grid.add_row(Text(f"  {name}", style="dim"), Text(value, justify="right"))
        lines.append(grid)
    for at_s, says in state.happened[-MOST_EVENTS:]:
        lines.append(Text(f"  {duration(at_s):>4}  {says}", style="yellow"))
    return Group(*lines)


def _finished_line(trial: str, says: str) -> Text:
    return Text.assemble(
        ("✓ " if not says.startswith("failed") else "✗ ", "dim"), trial, ("  " + says, "dim")
    )


def progress_cells(progress: Progress | None) -> dict[str, str]:
    """Return the figures of a `progress` event, named and formatted; absent ones are left out."""
    if progress is None:
        return {}
    cells = {
        "connected": f"{progress.connected:,} of {progress.users:,}",
        "requests/s": number(progress.requests_per_s),
    }
    for name, value in (("p50", progress.response_p50_ms), ("p99", progress.response_p99_ms)):
        if value is not None:
            cells[f"{name} [ms]"] = number(value)
    return cells | {"failed": f"{progress.failed:,}"}


def gauge_cells(gauges: Mapping[str, float]) -> dict[str, str]:
    """Return the server's CPU and memory."""
    cells = {}
    if "server_cpu_cores" in gauges:
        cells[GAUGES["server_cpu_cores"]] = number(gauges["server_cpu_cores"])
    if "server_memory_bytes" in gauges:
        cells[GAUGES["server_memory_bytes"]] = size(gauges["server_memory_bytes"])
    return cells


def outcome(record: TrialRecord) -> str:
    """Return a finished trial in one line."""
    if record.load is None or record.status == "failed":
        return f"failed: {clean(record.reason or 'no measurement')}"
    result, (start, end) = record.load.result, record.load.window_ms
    response = response_times(result).quantiles()
    rate = number(result.done / (end - start) * 1000) if end > start else NOTHING
    times = f"p50 {_ms(response, 'p50')}, p99 {_ms(response, 'p99')}"
    return f"{rate} requests/s, {times}, {result.failed:,} failed"


def _ms(response: Quantiles, name: QuantileName) -> str:
    shown = quantile(response, name)
    return shown if getattr(response, name) is None else f"{shown} ms"


def duration(seconds: float) -> str:
    """`7s`, `1:05`, `1:02:03`."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes}:{rest:02}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def left(state: State, now_s: float) -> str:
    """`, about 2:00 left`; empty where nobody can tell."""
    left_s = state.remaining_s(now_s)
    return "" if left_s is None else f", about {duration(left_s)} left"
