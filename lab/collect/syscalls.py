"""System calls by name of everything in a node's PID namespace, counted in the kernel by a small BPF program.

The program sits on the `sys_enter` tracepoint, asks whether the calling task is in the node's PID namespace
(bpf_get_ns_current_pid_tgid) and adds one to a per-CPU array at the call's number (bpf(2)). It costs about a
quarter of a microsecond a call, so it is taken off as the measured window opens: the figures are those of the
warm-up, at the window's load. The container's init (process 1 there) is left out. The counts are set against
the requests that the server counted, so they are read on either side of its line of statistics.
"""

from __future__ import annotations

import json
import platform
import threading
from collections.abc import Iterable
from pathlib import Path

from lab.collect.bpf import Bpf, Counters
from lab.common.clock import mono_ms
from lab.results.record import Sample

NAMES = Path(__file__).with_name("syscall_names.json")


class Syscalls:
    """Counts of one node, as totals since it was opened. Raises OSError where BPF may not be used here."""

    source = "syscalls"

    def __init__(self, node: str, pid: int) -> None:
        namespace = Path(f"/proc/{pid}/ns/pid").stat()
        if namespace.st_ino == Path("/proc/self/ns/pid").stat().st_ino:
            raise OSError(f"{node} shares this host's PID namespace: its calls cannot be told apart")
        self._node = node
        self._names = _names()
        self._lock = threading.Lock()
        self._counters: Counters | None = Bpf().count_syscalls(namespace.st_dev, namespace.st_ino)

    def sample(self) -> Iterable[Sample]:
        """One total per call that was seen; nothing once it is off."""
        return self._read(seen_only=False)

    def sample_beside_server(self) -> Iterable[Sample]:
        """See ReadBesideServer."""
        return self._read(seen_only=True)

    def _read(self, seen_only: bool) -> Iterable[Sample]:
        with self._lock:
            if self._counters is None:
                return []
            now, counted = mono_ms(), self._counters.read(seen_only)
        return [
            Sample(now, self._node, self.source, self._names.get(number, f"call_{number}"), count)
            for number, count in counted.items()
        ]

    def detach(self) -> None:
        """Take the program off the tracepoint: the window opens."""
        with self._lock:
            if self._counters is not None:
                self._counters.close()
                self._counters = None


def _names() -> dict[int, str]:
    table = json.loads(NAMES.read_text(encoding="utf-8")).get(platform.machine(), {})
    return {int(number): name for number, name in table.items()}
