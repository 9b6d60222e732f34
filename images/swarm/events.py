"""Events of a node: one JSON object a line on standard output, as the node contract says."""

from __future__ import annotations

import json
import os
from time import monotonic
from typing import Any


def emit(event: str, **fields: Any) -> None:
    """Write one event with the time of the monotonic clock in milliseconds.

    Standard output is a blocking descriptor: a slow reader delays the writer, and no line is cut.
    """
    line = json.dumps(
        {"event": event, "mono_ms": round(monotonic() * 1e3, 3), **fields}, separators=(",", ":")
    )
    data = line.encode() + b"\n"
    while data:
        data = data[os.write(1, data) :]


def log(level: str, text: str) -> None:
    """Write a `log` event for people; `level` is info, warning or error."""
    emit("log", level=level, says=text)
