"""How long the processes of a node ran, and how long they waited for a CPU (schedstats in the kernel's docs).

The first two numbers of /proc/PID/schedstat are exact, in nanoseconds, and of the process's first thread. So
only processes whose work is done by that thread are read: beside it may stand the reporter of the lab's own
servers, which sleeps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from lab.common.clock import mono_ms
from lab.results.record import Sample

MOST_THREADS = 2
# A server that forks for each connection has thousands of processes: reading them would be the load.
MOST_PROCESSES = 64


class Schedstat:
    """Samples each process of a node under its pid: `ran_us/PID`, `waited_us/PID`."""

    source = "schedstat"

    def __init__(
        self, nodes: Iterable[str], pids: Callable[[str], list[int]], proc: Path = Path("/proc")
    ) -> None:
        self._nodes, self._pids, self._proc = tuple(nodes), pids, proc

    def sample(self) -> Iterable[Sample]:
        """Totals since each process began; nothing where the kernel does not keep them."""
        for node in self._nodes:
            pids = self._pids(node)
            for pid in pids if len(pids) <= MOST_PROCESSES else ():
                now = mono_ms()
                yield from (Sample(now, node, self.source, f"{m}/{pid}", v) for m, v in self._process(pid))

    def _process(self, pid: int) -> Iterator[tuple[str, float]]:
        root = self._proc / str(pid)
        try:
            if sum(1 for _ in (root / "task").iterdir()) > MOST_THREADS:
                return
            ran, waited, *_ = (root / "schedstat").read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            return
        yield "ran_us", int(ran) / 1000
        yield "waited_us", int(waited) / 1000
