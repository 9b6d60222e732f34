"""Small scenarios and hosts for tests: real values, no files of the project needed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lab.plan.host import Host
from lab.scenario.resolve import Resolved, load

HOST = Host(
    kernel="6.1.0",
    machine="x86_64",
    cpu_model="test",
    cpus=(0, 1),
    memory_bytes=24 << 30,
    memory_available_bytes=20 << 30,
    nofile_hard=20_000,
    pid_max=32_768,
    threads_max=192_730,
    max_map_count=65_530,
    somaxconn=4096,
    conntrack_max=262_144,
    cgroup="v2",
    congestion_control="cubic",
    swap_used_bytes=0,
)

TEXT = """\
name: small
servers:
  thread: {model: thread}
  epoll_lt: {model: epoll_lt}
swarm:
  users: 10
  workers: 2
  load: {executor: constant-arrival-rate, rate: 100/s}
"""


def resolved(folder: Path, text: str = TEXT, overrides: tuple[str, ...] = ()) -> Resolved:
    """The scenario that `text` means, with no lab.yaml beside it."""
    path = folder / "scenario.yaml"
    path.write_text(text)
    return load(path, lab_yaml=folder / "absent.yaml", overrides=overrides)


def host(**changes: object) -> Host:
    """A two-core host with these facts changed."""
    return replace(HOST, **changes)  # type: ignore[arg-type]
