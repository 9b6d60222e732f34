"""CPU time of this process itself: what the lab costs beside its nodes (clock_gettime(2))."""

from __future__ import annotations

import time
from collections.abc import Iterable

from lab.common.clock import mono_ms
from lab.results.record import Sample


class Orchestrator:
    """Samples under the node name `lab`."""

    source = "orchestrator"

    def sample(self) -> Iterable[Sample]:
        """cpu_us: of all threads since the process began."""
        yield Sample(mono_ms(), "lab", self.source, "cpu_us", time.process_time_ns() / 1000)
