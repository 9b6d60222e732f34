"""Runtimes turn a Topology into a running Deployment: `docker` (containers) and `local` (plain processes).

Both keep the protocols of this file, and tests/contract/test_runtime.py holds them to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lab.common.scheduling import Budget
from lab.plan.topology import Topology

if TYPE_CHECKING:  # the watchdog imports this package too, and must start fast
    from lab.plan.render import Addressing

Event = Mapping[str, Any]


@dataclass(frozen=True)
class ExecResult:
    """Exit code and output of a command that ran inside a node."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class NodeExit:
    """How a node ended. `signal` is a name (SIGKILL) or None; `oom` is None where it cannot be known."""

    code: int
    signal: str | None = None
    oom: bool | None = None


class Deployment(Protocol):
    """A running topology. Every call that waits takes a deadline and raises NoMeasurement when it passes.

    Attributes:
        runtime: The name of the runtime, kept in the records.
        isolated: Each node has a network namespace and a cgroup of its own, so that links can be impaired.
        stamps: What every result of this deployment is marked with.
    """

    runtime: str
    isolated: bool
    stamps: tuple[str, ...]

    def nodes(self) -> list[str]:
        """Return every node that was started so far, helpers included."""

    def address(self, node: str, network: str) -> str:
        """Return the IP address of `node` on `network`."""

    def interface(self, node: str, network: str) -> str | None:
        """Return `node`'s interface on `network` inside its namespace; None where it has none of its own."""

    def exec(self, node: str, argv: Sequence[str], deadline_s: float) -> ExecResult:
        """Run a command inside the node, with the node's environment, and wait for it."""

    def helper(self, node: str) -> str:
        """Start a nettools node in `node`'s network namespace unless it is there; return its name."""

    def signal(self, node: str, name: str) -> None:
        """Send a signal, by name (SIGUSR1), to the node's first process."""

    def pause(self, node: str) -> None:
        """Freeze every process of the node."""

    def unpause(self, node: str) -> None:
        """Let every process of the node continue."""

    def limit(self, node: str, cpus: float | None, memory_bytes: int | None) -> Callable[[], None]:
        """Change the node's CPU or memory limit while it runs; return what restores the former limit.

        Raises HostCannot where that is impossible.
        """

    def wait_event(self, node: str, event: str, deadline_s: float) -> Event:
        """Return the first JSON line of `node` whose `event` has that name, past or future.

        Raises NoMeasurement when the node ends first (with its exit code and last lines) or time is up.
        """

    def events(self, node: str) -> list[Event]:
        """Return all JSON lines that `node` has printed so far, in order."""

    def subscribe(self, callback: Callable[[str, Event], None]) -> None:
        """Call `callback(node, event)` for each JSON line from now on, from the runtime's own threads."""

    def exited(self, node: str) -> NodeExit | None:
        """Return how the node ended, or None while it runs."""

    def log_path(self, node: str) -> Path:
        """Return the file that holds all the node printed (standard output and standard error)."""

    def pids(self, node: str) -> list[int]:
        """Return the node's process ids on this host, first process first; empty where they are hidden."""

    def host_pid(self, node: str, pid: int) -> int | None:
        """Return the id on this host of the process `pid` of the node; None where it is hidden."""

    def make_real_time(self, node: str, pid: int) -> Budget:
        """Put a process of the node, by its id on this host, into SCHED_RR, priority 1; return its budget.

        Raises HostCannot with the reason where that is not permitted; then the process is as it was.
        """

    def cgroup(self, node: str) -> str | None:
        """Return the node's cgroup path below the hierarchy, such as /docker/ID; None without one."""

    def stop(self, node: str, grace_s: float) -> NodeExit:
        """Send SIGTERM, after `grace_s` SIGKILL, and read the rest of the node's log."""


class Runtime(Protocol):
    """Makes deployments.

    Attributes:
        name: What `--runtime` and the records call it.
        isolated: See Deployment.
        nodes_are_children: Nodes are child processes of this one, and inherit its priority.
        own_images_only: It runs the lab's own images only, no image that a scenario names.
        limits: The limits of a node that it can set: fields of Server.
    """

    name: str
    isolated: bool
    nodes_are_children: bool
    own_images_only: bool
    limits: frozenset[str]

    def real_time_expected(self) -> bool:
        """Return whether engines will probably become real-time here; each deployment finds out."""

    def addressing(self, folder: Path) -> Addressing:
        """Return how the nodes of one deployment find each other; `folder` is the scenario's."""

    def up(self, topology: Topology, logs: Path) -> AbstractContextManager[Deployment]:
        """Start every node; on exit stop and remove all of it, whatever happened."""
