"""The engines of a worker: plain child processes that take commands and report records as JSON lines.

They run outside gevent: in one process its hub and an epoll loop would take turns, and each turn would add
latency to the other's requests.
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
        self.pid = self._process.pid
        self._reader = gevent.spawn(self._read)
        self._users = 0

    def send(self, command: Mapping[str, Any]) -> None:
        """Write one command to the engine's standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        self._process.stdin.flush()

    def set_users(self, users: int) -> None:
        """Tell the engine how many connections to keep open, if that has changed."""
        if users != self._users:
            self._users = users
            self.send({"do": "users", "target": users})

    def stop(self) -> None:
        """Close the engine's standard input, which ends the engine."""
        self._reader.kill()
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            return  # the engine has ended with a command unread

    def join(self, until_s: float) -> None:
        """Wait for the end; kill the process at `until_s` (CLOCK_MONOTONIC).

        A killed process closes its sockets for a while longer; nothing waits for that.
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
    """Return the number of users of each engine; no two differ by more than one."""
    share, rest = divmod(users, engines)
    return [share + (index < rest) for index in range(engines)]
