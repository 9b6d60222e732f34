"""Memory of a node's own processes, pages that they share counted once: the proportional set size (proc(5)).

The kernel walks the page tables of a process for /proc/PID/smaps_rollup: milliseconds for 150 MiB, 18 ms for
1 GiB. So it is read at marks only, never at the steady interval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from lab.common.clock import mono_ms
from lab.results.record import Sample

MOST_PROCESSES = 64


class Pss:
    """Sums over the processes of a node; a node of more processes than MOST_PROCESSES is left out."""

    source = "pss"

    def __init__(
        self, nodes: Iterable[str], pids: Callable[[str], list[int]], proc: Path = Path("/proc")
    ) -> None:
        self._nodes, self._pids, self._proc = tuple(nodes), pids, proc
        self._wanted = False

    def force_sample(self) -> None:
        """Read it the next time."""
        self._wanted = True

    def sample(self) -> Iterable[Sample]:
        """bytes: of all processes of the node that may be read; nothing where one may not."""
        if not self._wanted:
            return
        self._wanted = False
        for node in self._nodes:
            now, pids = mono_ms(), self._pids(node)
            if not pids or len(pids) > MOST_PROCESSES:
                continue
            each = [self._of_process(pid) for pid in pids]
            known = [one for one in each if one is not None]
            if len(known) == len(each):
                yield Sample(now, node, self.source, "bytes", float(sum(known)))

    def _of_process(self, pid: int) -> int | None:
        """Its share in bytes; 0 for one that has just ended, None where it may not be read."""
        try:
            lines = (self._proc / str(pid) / "smaps_rollup").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            return 0
        except PermissionError:
            return None
        sizes = [int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")]
        return sizes[0] if sizes else None
