"""Facts and limits of this host: read once per run, and stored with it."""

from __future__ import annotations

import os
import platform
import resource
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.plan import machine


@dataclass(frozen=True)
class Host:
    """Facts and limits of this host. A value that cannot be read is None."""

    kernel: str
    machine: str
    cpu_model: str
    cpus: tuple[int, ...]
    memory_bytes: int
    memory_available_bytes: int
    nofile_hard: int
    pid_max: int | None
    threads_max: int | None
    max_map_count: int | None
    somaxconn: int | None
    conntrack_max: int | None
    cgroup: str
    congestion_control: str | None
    swap_used_bytes: int
    boot_id: str | None = None
    machine_id: str | None = None  # a digest of it
    governor: str | None = None
    smt: str | None = None
    clock_source: str | None = None
    transparent_hugepages: str | None = None
    interrupt_time: str | None = None

    def to_json(self) -> dict[str, object]:
        """Return the data for manifest.json."""
        return asdict(self)


def read() -> Host:
    """Read the facts of this host from /proc and /sys."""
    memory = _meminfo()
    return Host(
        kernel=platform.release(),
        machine=platform.machine(),
        cpu_model=_cpu_model(),
        cpus=tuple(sorted(os.sched_getaffinity(0))),
        memory_bytes=memory["MemTotal"],
        memory_available_bytes=memory["MemAvailable"],
        nofile_hard=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        pid_max=_number("kernel/pid_max"),
        threads_max=_number("kernel/threads-max"),
        max_map_count=_number("vm/max_map_count"),
        somaxconn=_number("net/core/somaxconn"),
        conntrack_max=_number("net/netfilter/nf_conntrack_max"),
        cgroup=cgroup_version(),
        congestion_control=_text(Path("/proc/sys/net/ipv4/tcp_congestion_control")),
        swap_used_bytes=memory["SwapTotal"] - memory["SwapFree"],
        **machine.facts(),
    )


def cgroup_version() -> str:
    """Return `v2`, `v1`, or `none` if no hierarchy is mounted."""
    root = Path("/sys/fs/cgroup")
    if (root / "cgroup.controllers").exists():
        return "v2"
    return "v1" if (root / "cpuacct").exists() or (root / "memory").exists() else "none"


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


def _number(name: str) -> int | None:
    text = _text(Path("/proc/sys") / name)
    return int(text) if text else None


def _meminfo() -> defaultdict[str, int]:
    """Read /proc/meminfo, in bytes; 0 for what is not there."""
    lines = (_text(Path("/proc/meminfo")) or "").splitlines()
    return defaultdict(int, {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines})


def _cpu_model() -> str:
    for line in (_text(Path("/proc/cpuinfo")) or "").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"
