"""CPU time, throttling, memory, OOM kills and pids of each node, from its cgroup (v1 or v2; cgroups(7))."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from lab.common.clock import mono_ms
from lab.results.record import Sample

CGROUP_ROOT = Path("/sys/fs/cgroup")
THROTTLING = {
    "nr_periods": "cpu_periods",
    "nr_throttled": "cpu_throttled",
    "throttled_usec": "cpu_throttled_us",
}


class Cgroup:
    """Reads the cgroups of nodes; `path_of` gives a node's path below the hierarchy, such as /docker/ID.

    `nodes` is called at every sample, because helpers join later.
    """

    source = "cgroup"

    def __init__(
        self, nodes: Callable[[], list[str]], path_of: Callable[[str], str | None], root: Path = CGROUP_ROOT
    ) -> None:
        self._read = _version2 if (root / "cgroup.controllers").exists() else _version1
        self._root = root
        self._nodes, self._path_of = nodes, path_of
        self._paths: dict[str, str] = {}

    def sample(self) -> Iterable[Sample]:
        """cpu_us, cpu_user_us, cpu_system_us, memory_bytes, memory_peak_bytes, pids, oom_kills.

        cpu_periods, cpu_throttled, cpu_throttled_us: of the node's own quota, and with the path of each group
        above it, as in `cpu_periods/docker`. Version 1 also tells the time on each CPU: cpu0_us and so on.
        """
        for node in self._nodes():
            path = self._paths.get(node) or self._path_of(node)
            if path is None:
                continue
            self._paths[node] = path
            now = mono_ms()
            for metric, value in self._read(self._root, path.lstrip("/")):
                yield Sample(now, node, self.source, metric, value)


def _version2(root: Path, path: str) -> Iterator[tuple[str, float]]:
    group = root / path
    cpu = _table(group / "cpu.stat")
    yield from _known(
        cpu, {"usage_usec": "cpu_us", "user_usec": "cpu_user_us", "system_usec": "cpu_system_us"}
    )
    yield from _throttling(root, path)
    yield from _single(group / "memory.current", "memory_bytes")
    yield from _single(group / "memory.peak", "memory_peak_bytes")
    yield from _single(group / "pids.current", "pids")
    yield from _known(_table(group / "memory.events"), {"oom_kill": "oom_kills"})
    yield from _known(_table(group / "memory.stat"), {"slab": "kernel_bytes", "sock": "socket_bytes"})


def _version1(root: Path, path: str) -> Iterator[tuple[str, float]]:
    # On v1 each controller is a hierarchy of its own; cpu and cpuacct are often one mount under both names.
    yield from _single(root / "cpuacct" / path / "cpuacct.usage", "cpu_us", 1e-3)
    yield from _single(root / "cpuacct" / path / "cpuacct.usage_user", "cpu_user_us", 1e-3)
    yield from _single(root / "cpuacct" / path / "cpuacct.usage_sys", "cpu_system_us", 1e-3)
    yield from _each_cpu(root / "cpuacct" / path / "cpuacct.usage_percpu")
    yield from _throttling(root / "cpu", path)
    memory = root / "memory" / path
    yield from _single(memory / "memory.usage_in_bytes", "memory_bytes")
    yield from _single(memory / "memory.max_usage_in_bytes", "memory_peak_bytes")
    yield from _single(memory / "memory.kmem.usage_in_bytes", "kernel_bytes")
    yield from _known(_table(memory / "memory.oom_control"), {"oom_kill": "oom_kills"})
    yield from _single(root / "pids" / path / "pids.current", "pids")


def _throttling(root: Path, path: str) -> Iterator[tuple[str, float]]:
    """Periods of the quotas that bind a group: each group above it may have one, too."""
    groups = PurePosixPath(path)
    for group in (groups, *groups.parents[:-1]):
        above = f"/{group}" if group != groups else ""
        stat = _table(root / group / "cpu.stat")
        yield from _known(stat, {name: ours + above for name, ours in THROTTLING.items()})
        if "throttled_time" in stat:  # version 1: in nanoseconds
            yield f"cpu_throttled_us{above}", stat["throttled_time"] / 1000


def _single(path: Path, metric: str, factor: float = 1.0) -> Iterator[tuple[str, float]]:
    try:
        yield metric, int(path.read_text()) * factor
    except (OSError, ValueError):
        return


def _each_cpu(path: Path) -> Iterator[tuple[str, float]]:
    # One number per possible CPU, in nanoseconds.
    try:
        values = [int(word) / 1000 for word in path.read_text().split()]
    except (OSError, ValueError):
        return
    yield from ((f"cpu{cpu}_us", value) for cpu, value in enumerate(values))


def _table(path: Path) -> dict[str, float]:
    try:
        rows = (line.split() for line in path.read_text().splitlines())
        return {row[0]: float(row[1]) for row in rows if len(row) == 2}
    except (OSError, ValueError):
        return {}


def _known(table: Mapping[str, float], names: Mapping[str, str]) -> Iterator[tuple[str, float]]:
    for theirs, ours in names.items():
        if theirs in table:
            yield ours, table[theirs]
