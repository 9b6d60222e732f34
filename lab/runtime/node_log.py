"""The output of nodes: every byte goes into a log file, every JSON line of standard output becomes an event.

Each node has one `NodeLog`, in every runtime; a thread of the runtime feeds it bytes and reports the end.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab.common.clock import mono_ms
from lab.common.errors import NoMeasurement
from lab.runtime import Event, NodeExit

MAX_LINE_BYTES = 256 * 1024
TAIL_LINES = 50
STDOUT, STDERR = 1, 2

Callback = Callable[[str, Event], None]


class EventBus:
    """Publishes events to subscribers. One that raises is unsubscribed, and its error is kept for the end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._callbacks: list[Callback] = []
        self.errors: list[Exception] = []

    def subscribe(self, callback: Callback) -> None:
        """Call `callback(node, event)` for each event from now on, from the thread that follows the node."""
        with self._lock:
            self._callbacks = [*self._callbacks, callback]

    def publish(self, node: str, event: Event) -> None:
        """Call every subscriber with one event."""
        for callback in self._callbacks:
            try:
                callback(node, event)
            except Exception as error:
                with self._lock:
                    self._callbacks = [other for other in self._callbacks if other is not callback]
                    self.errors.append(error)


class NodeLog:
    """The output of one node. One thread calls `feed` and `end`; any thread may call the rest."""

    def __init__(self, node: str, log: Path, bus: EventBus) -> None:
        self.node = node
        self.log = log
        self._bus = bus
        self._file = log.open("ab", buffering=0)
        self._partial = {STDOUT: b"", STDERR: b""}
        self._skipping = False
        self._events: list[Event] = []
        self._changed = threading.Condition()
        self._exit: NodeExit | None = None
        self._lost: str | None = None

    def feed(self, stream: int, data: bytes) -> None:
        """Take bytes from STDOUT or STDERR: all are logged, lines of standard output are parsed.

        The log interleaves the streams by whole lines.
        """
        *whole, rest = (self._partial[stream] + data).split(b"\n")
        if whole:
            self._file.write(b"\n".join(whole) + b"\n")
        self._partial[stream] = rest
        if stream == STDOUT:
            for line in whole:
                self._parse_line(line)
        if len(rest) > MAX_LINE_BYTES:
            self._drop_long_line(stream)

    def end(self, exit_: NodeExit | None, lost: str | None = None) -> None:
        """Take the end of the output: the node ended with `exit_`, or its output broke (`lost`: why)."""
        self._parse_line(self._partial[STDOUT])
        self._file.write(b"".join(self._partial.values()))
        self._file.close()
        with self._changed:
            self._exit, self._lost = exit_, None if exit_ else (lost or "its output ended")
            self._changed.notify_all()

    def events(self) -> list[Event]:
        """Return all events so far, in order."""
        with self._changed:
            return list(self._events)

    def exited(self) -> NodeExit | None:
        """Return how the node ended, once it has ended and all its output is read; before that None."""
        return self._exit

    @property
    def ended(self) -> bool:
        """Whether the output is complete, for whatever reason."""
        return self._exit is not None or self._lost is not None

    def wait_end(self, deadline_s: float) -> bool:
        """Wait until the output is complete; return False at the deadline."""
        with self._changed:
            return self._changed.wait_for(lambda: self.ended, deadline_s)

    def wait_event(self, name: str, deadline_s: float) -> Event:
        """Return the first event of that name, past or future. Raises NoMeasurement (node ended, timeout)."""
        until = time.monotonic() + deadline_s
        seen = 0
        with self._changed:
            while True:
                for event in self._events[seen:]:
                    if event.get("event") == name:
                        return event
                seen = len(self._events)
                if self.ended:
                    raise NoMeasurement(
                        f"{self.node}: {self._how_ended()} before '{name}'{self._last_lines()}"
                    )
                left = until - time.monotonic()
                if left <= 0:
                    raise NoMeasurement(
                        f"{self.node}: no '{name}' within {deadline_s:g} s{self._last_lines()}"
                    )
                self._changed.wait(left)

    def tail(self, lines: int = TAIL_LINES) -> list[str]:
        """Return the last lines of the log, of both streams."""
        with self.log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - MAX_LINE_BYTES))
            return file.read().decode("utf-8", "replace").splitlines()[-lines:]

    def _how_ended(self) -> str:
        if self._exit is None:
            return f"lost ({self._lost})"
        by = (
            f" ({self._exit.signal}{', out of memory' if self._exit.oom else ''})"
            if self._exit.signal
            else ""
        )
        return f"ended with exit code {self._exit.code}{by}"

    def _last_lines(self) -> str:
        tail = self.tail()
        return "; its last lines:\n  " + "\n  ".join(tail) if tail else "; it printed nothing"

    def _drop_long_line(self, stream: int) -> None:
        """Log the beginning of a line that is too long for an event, and drop it."""
        self._file.write(self._partial[stream])
        self._partial[stream] = b""
        if stream == STDOUT and not self._skipping:
            self._skipping = True
            says = f"a line over {MAX_LINE_BYTES} bytes was not parsed as an event (it is in the log)"
            self._add({"event": "log", "level": "error", "says": says, "mono_ms": mono_ms()})

    def _parse_line(self, line: bytes) -> None:
        if self._skipping:
            self._skipping = False
        elif line.lstrip().startswith(b"{") and (event := _event(line)) is not None:
            self._add(event)

    def _add(self, event: Event) -> None:
        with self._changed:
            self._events.append(event)
            self._changed.notify_all()
        self._bus.publish(self.node, event)


def _event(line: bytes) -> dict[str, Any] | None:
    """Return the JSON object of a line if it has an `event`; None for other text."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and isinstance(value.get("event"), str) else None


class LoggedDeployment:
    """The part of a deployment that all runtimes share: the output of its nodes and how they end."""

    def __init__(self, logs: Path) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        self._logs = logs
        self._bus = EventBus()
        self._node_logs: dict[str, NodeLog] = {}

    def wait_event(self, node: str, event: str, deadline_s: float) -> Event:
        """See Deployment."""
        return self._log_of(node).wait_event(event, deadline_s)

    def events(self, node: str) -> list[Event]:
        """See Deployment."""
        return self._log_of(node).events()

    def subscribe(self, callback: Callback) -> None:
        """See Deployment."""
        self._bus.subscribe(callback)

    def exited(self, node: str) -> NodeExit | None:
        """See Deployment."""
        return self._log_of(node).exited()

    def log_path(self, node: str) -> Path:
        """See Deployment."""
        return self._log_of(node).log

    def _open_log(self, node: str) -> NodeLog:
        log = self._node_logs[node] = NodeLog(node, self._logs / f"{node}.log", self._bus)
        return log

    def _log_of(self, node: str) -> NodeLog:
        if node not in self._node_logs:
            raise NoMeasurement(f"no node '{node}' here; there are: {', '.join(self._node_logs) or 'none'}")
        return self._node_logs[node]

    def _raise_callback_errors(self) -> None:
        if self._bus.errors:
            raise self._bus.errors[0]
