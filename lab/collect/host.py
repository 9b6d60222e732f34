"""The host around the trial: CPU time by state, steal, run queue, pressure and swap (proc(5), PSI)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from lab.common.clock import mono_ms
from lab.results.record import Sample

STATES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


class HostCollector:
    """Samples under the node name `host`; CPUs one by one as cpu0_steal_us and so on."""

    source = "host"

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._tick_us = 1e6 / os.sysconf("SC_CLK_TCK")

    def sample(self) -> Iterable[Sample]:
        """CPU states in µs, `running` tasks, softnet drops, swapped pages, CPU pressure in µs."""
        now = mono_ms()
        for metric, value in (*self._stat(), *self._softnet(), *self._swap(), *self._pressure()):
            yield Sample(now, "host", self.source, metric, value)

    def _stat(self) -> Iterator[tuple[str, float]]:
        for line in (self._proc / "stat").read_text().splitlines():
            name, *values = line.split()
            if name.startswith("cpu"):
                yield from (
                    (f"{name}_{state}_us", float(v) * self._tick_us)
                    for state, v in zip(STATES, values, strict=False)
                )
            elif name == "procs_running":
                yield "running", float(values[0])
            elif name == "ctxt":
                yield "switches", float(values[0])

    def _softnet(self) -> Iterator[tuple[str, float]]:
        # One line per CPU in hexadecimal: processed, dropped (backlog full), squeezed.
        rows = [line.split() for line in (self._proc / "net" / "softnet_stat").read_text().splitlines()]
        yield "softnet_dropped", float(sum(int(row[1], 16) for row in rows))

    def _swap(self) -> Iterator[tuple[str, float]]:
        for line in (self._proc / "vmstat").read_text().splitlines():
            if line.startswith(("pswpin ", "pswpout ")):
                name, value = line.split()
                yield name, float(value)

    def _pressure(self) -> Iterator[tuple[str, float]]:
        path = self._proc / "pressure" / "cpu"
        if path.exists():
            some = path.read_text().splitlines()[0].split()
            yield "cpu_pressure_us", float(dict(item.split("=") for item in some[1:])["total"])
