"""What a node says: one JSON object a line on standard output, as the node contract has it."""

from __future__ import annotations

import json
import os
from time import monotonic
from typing import Any


def emit(event: str, **fields: Any) -> None:
    """Write one event, stamped with the monotonic clock in milliseconds.

    A line leaves in one write(2) as long as the reader keeps up; standard output stays a blocking descriptor.
    """
    line = json.dumps(
        {"event": event, "mono_ms": round(monotonic() * 1e3, 3), **fields}, separators=(",", ":")
    )
    data = line.encode() + b"\n"
    while data:
        data = data[os.write(1, data) :]


def say(level: str, text: str) -> None:
    """Write a `log` event for people; `level` is info, warning or error."""
    emit("log", level=level, says=text)
