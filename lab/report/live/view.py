"""What people see while a run goes on: a live panel on a terminal, plain lines elsewhere (pipes, CI)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from lab.report.content.text import clean
from lab.report.live.state import State, duration, gauge_cells, left, outcome, panel, progress_cells
from lab.results.record import TrialRecord
from lab.results.swarm_event import LoadEvent, PhaseStart, WorkerLost

Clock = Callable[[], float]
PLAIN_EVERY_S = 5.0
REFRESH_PER_S = 4


class View(Protocol):
    """Shows a run. Calls come from the runtime's threads as well as from the caller's own."""

    def trial_started(self, index: int, total: int, trial_id: str) -> None:
        """Tell that a trial begins; `index` counts from 1."""

    def step(self, text: str) -> None:
        """Tell a step of the run or of a trial."""

    def event(self, event: LoadEvent) -> None:
        """Tell an event of the swarm's master (images/CONTRACT.md): phases, progress, lost workers."""

    def gauge(self, name: str, value: float) -> None:
        """Tell a figure of this moment: `server_cpu_cores`, `server_memory_bytes`."""

    def trial_ended(self, record: TrialRecord) -> None:
        """Tell that a trial is over."""

    def close(self) -> None:
        """Nothing more will be shown."""

    def __enter__(self) -> View: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def make_view(
    console: Console, plain: bool, clock: Clock = time.monotonic, trial_s: float | None = None
) -> View:
    """Make a live panel, or plain lines: one per step and phase, and one every 5 s of load.

    `trial_s` is about how long a trial will take: what remains is told from it until the first has ended.
    """
    return PlainView(console, clock, trial_s) if plain else LiveView(console, clock, trial_s)


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
            self._changed(f"[{index}/{total}] {clean(trial_id)}{left(self.state, self._clock())}")

    def step(self, text: str) -> None:
        """See View."""
        with self._lock:
            self.state.step(text, self._clock())
            self._changed(self._indent() + clean(text))

    def event(self, event: LoadEvent) -> None:
        """See View."""
        with self._lock:
            if isinstance(event, PhaseStart):
                self._phase(event.phase)
            elif isinstance(event, WorkerLost):
                self._changed("  " + clean(f"worker-{event.worker_index} lost: {event.says}"))
            else:
                self.state.progress = event
                self._phase(clean(event.phase))
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
            self.state.enter(phase)
            self._changed(f"  {phase}")

    def _indent(self) -> str:
        return "  " if self.state.trial else ""

    def _changed(self, line: str) -> None:
        """Something that a reader of plain lines must see."""
        raise NotImplementedError

    def _progressed(self) -> None:
        """Show new progress figures."""
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
        """Leave it to the next refresh to show it."""

    def _render(self) -> Group:
        with self._lock:
            return panel(self.state, self._clock(), self._console.height)
