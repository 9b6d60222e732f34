"""Runtimes turn a Topology into a running Deployment: `docker` (containers) and `local` (plain processes).

The seam that both keep, and that tests/contract/test_runtime.py holds them to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lab.plan.topology import Topology

Event = Mapping[str, Any]


@dataclass(frozen=True)
class ExecResult:
    """What a command run inside a node gave back."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class NodeExit:
    """How a node ended. `signal` is a name (SIGKILL) or None; `oom` is None where nobody can tell."""

    code: int
    signal: str | None = None
    oom: bool | None = None


class Deployment(Protocol):
    """A running topology. Every call that waits takes a deadline and raises NoMeasurement when it passes."""

    runtime: str
    stamps: tuple[str, ...]

    def nodes(self) -> list[str]:
        """Every node that was started so far, helpers included."""

    def address(self, node: str, network: str) -> str:
        """The IP address under which `node` is reached on `network`."""

    def interface(self, node: str, network: str) -> str | None:
        """The name of `node`'s interface on `network` inside its namespace; None where it has no own one."""

    def exec(self, node: str, argv: Sequence[str], deadline_s: float) -> ExecResult:
        """Run a command inside the node, with the node's environment, and wait for it."""

    def helper(self, node: str) -> str:
        """Make sure that a nettools node shares `node`'s network namespace; returns the helper's name."""

    def signal(self, node: str, name: str) -> None:
        """Send a signal, by name (SIGUSR1), to the node's first process."""

    def pause(self, node: str) -> None:
        """Freeze every process of the node."""

    def unpause(self, node: str) -> None:
        """Thaw it."""

    def limit(self, node: str, cpus: float | None, memory_bytes: int | None) -> None:
        """Change the node's CPU or memory limit while it runs. Raises HostCannot where it cannot be."""

    def wait_event(self, node: str, event: str, deadline_s: float) -> Event:
        """The first JSON line of `node` whose `event` is that, past or future.

        Raises NoMeasurement when the node ends first (with its exit code and last lines) or time is up.
        """

    def events(self, node: str) -> list[Event]:
        """All JSON lines that `node` has printed so far, in order."""

    def subscribe(self, callback: Callable[[str, Event], None]) -> None:
        """Call `callback(node, event)` for each JSON line from now on, from the runtime's own threads."""

    def exited(self, node: str) -> NodeExit | None:
        """How the node ended, or None while it runs."""

    def log_path(self, node: str) -> Path:
        """The file that holds everything the node printed (standard output and standard error)."""

    def pids(self, node: str) -> list[int]:
        """This host's ids of the node's processes, first process first; empty where they cannot be seen."""

    def cgroup(self, node: str) -> str | None:
        """The node's cgroup path below the hierarchy, such as /docker/ID; None where it has no own one."""

    def stop(self, node: str, grace_s: float) -> NodeExit:
        """SIGTERM, then SIGKILL after `grace_s`; reads the rest of its log."""


class Runtime(Protocol):
    """Makes deployments."""

    name: str

    def up(self, topology: Topology, logs: Path) -> AbstractContextManager[Deployment]:
        """Start every node; on exit stop and remove all of it, whatever happened."""
