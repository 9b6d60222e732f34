"""Clocks: CLOCK_MONOTONIC for everything measured, UTC only for names."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def mono_ms() -> float:
    """Return CLOCK_MONOTONIC in milliseconds: all containers of one kernel share this clock."""
    return time.clock_gettime(time.CLOCK_MONOTONIC) * 1000.0


def utc_stamp() -> str:
    """Return the time in UTC, as in `20261123T071705Z`."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
