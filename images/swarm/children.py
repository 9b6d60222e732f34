"""The engines of a worker: plain child processes, told and heard by JSON lines.

They run outside gevent: its hub and an epoll loop in one process would take turns in slices, and every
slice is somebody's latency.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

import gevent

OnRecord = Callable[[int, dict[str, Any]], None]
OnEnd = Callable[[int, str], None]


class EngineProcess:
    """One child process and the greenlet that reads its records."""

    def __init__(self, index: int, on_record: OnRecord, on_end: OnEnd) -> None:
        self.index = index
        self._on_record, self._on_end = on_record, on_end
        self._process = subprocess.Popen(
            [sys.executable, "-m", "swarm", "engine", str(index)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._reader = gevent.spawn(self._read)
        self._users = 0

    def tell(self, command: Mapping[str, Any]) -> None:
        """Send one command."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        self._process.stdin.flush()

    def hold(self, users: int) -> None:
        """Ask for so many connections."""
        if users != self._users:
            self._users = users
            self.tell({"do": "users", "target": users})

    def let_go(self) -> None:
        """End the engine's standard input, which ends the engine."""
        self._reader.kill()
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            return  # it has ended already, with a command unread

    def close(self, until_s: float) -> None:
        """Wait for the end, by force once the monotonic clock has reached `until_s`.

        A killed process goes on closing its sockets for a while; its parent need not wait for that.
        """
        try:
            self._process.wait(max(0.0, until_s - monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._on_record(self.index, json.loads(line))
        self._on_end(self.index, f"engine {self.index} ended with exit code {self._process.wait()}")


def split(users: int, engines: int) -> list[int]:
    """Return how many of `users` each engine holds: as equal as whole numbers allow."""
    share, rest = divmod(users, engines)
    return [share + (index < rest) for index in range(engines)]
