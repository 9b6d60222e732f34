"""The marks of a trial: moments at which every collector samples, and the server prints its statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from lab.results.node import Mark, MarkName
from lab.results.record import Sample

# The server's part of the host's own samples is that of the host.
_OF_THE_SERVER = ("server", "host")


class TakesMarks(Protocol):
    """Something that can be told to sample at a moment (the Recorder)."""

    def mark(self, what: MarkName, at_mono_ms: float, window_opens: bool = False) -> None:
        """Sample exactly then."""


def mark_load(recorder: TakesMarks, begins_ms: float, warmup_s: float, measure_s: float) -> None:
    """Mark the begin of the warm-up and both ends of the window. Call it as soon as the first is known."""
    opens_ms = begins_ms + 1000 * warmup_s
    recorder.mark("warmup", begins_ms)
    recorder.mark("measure", opens_ms, window_opens=True)
    recorder.mark("end", opens_ms + 1000 * measure_s)


class DueMark:
    """A mark that waits for its moment, or whose moment has come: then `taken` fills."""

    def __init__(self, what: MarkName, at_ms: float, window_opens: bool) -> None:
        self.what, self.at_ms, self.window_opens = what, at_ms, window_opens
        self.taken: dict[str, float] = {}

    def take(self, source: str, samples: Sequence[Sample]) -> None:
        """Note when a collector sampled, if it has now seen the server or the host."""
        times = [sample.mono_ms for sample in samples if sample.node in _OF_THE_SERVER]
        if times:
            self.taken[source] = max(times)

    def record(self) -> Mark:
        """Return what is kept of it."""
        return Mark(what=self.what, asked_mono_ms=self.at_ms, taken_mono_ms=dict(self.taken))
