"""Errors of connections and requests, by the kinds of the contract."""

from __future__ import annotations

import errno
from dataclasses import asdict, dataclass
from typing import Any

KINDS = {
    errno.ECONNREFUSED: "connect_refused",
    errno.ETIMEDOUT: "connect_timeout",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.EADDRNOTAVAIL: "ports_exhausted",  # connect(2): all local ports of the source address are in use
    errno.EMFILE: "emfile",
    errno.ENFILE: "emfile",
}
EXAMPLE_CHARACTERS = 200


def error_kind(error: OSError, *, connecting: bool) -> str:
    """Return the contract's kind of an error of the kernel."""
    if not connecting and error.errno == errno.ETIMEDOUT:
        return "timeout"  # retransmission ended (tcp(7), tcp_retries2)
    return KINDS.get(error.errno or 0, "connect_reset" if connecting else "reset")


@dataclass
class Fault:
    """All errors of one kind."""

    count: int
    first_mono_ms: float
    last_mono_ms: float
    example: str


class Faults:
    """Errors by kind: count, first and last time, one example."""

    def __init__(self) -> None:
        self._by_kind: dict[str, Fault] = {}

    def add(self, kind: str, message: str, now_s: float) -> None:
        """Count one error at `now_s` (CLOCK_MONOTONIC seconds)."""
        fault = self._by_kind.get(kind)
        if fault is None:
            fault = self._by_kind[kind] = Fault(0, now_s * 1e3, 0.0, message[:EXAMPLE_CHARACTERS])
        fault.count += 1
        fault.last_mono_ms = now_s * 1e3

    def as_record(self) -> dict[str, dict[str, Any]]:
        """Return the JSON form."""
        return {kind: asdict(fault) for kind, fault in self._by_kind.items()}
