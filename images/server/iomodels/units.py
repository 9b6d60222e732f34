"""Durations and sizes as text: a number and its unit."""

from __future__ import annotations

import re

_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
_BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20}
_NUMBER = re.compile(r"([0-9]+(?:\.[0-9]+)?)([A-Za-z]*)")

MAX_SECONDS = 60.0
MAX_BYTES = 1 << 20


def seconds(text: str) -> float:
    """Return a duration such as ``200us``, ``10ms`` or ``1.5s`` in seconds.

    Raises:
        ValueError: no unit, an unknown unit, or more than `MAX_SECONDS`.
    """
    value = _amount(text, _SECONDS, "duration", "10ms")
    if value > MAX_SECONDS:
        raise ValueError(f"duration {text!r} is longer than {MAX_SECONDS:g}s")
    return value


def size_bytes(text: str) -> int:
    """Return a size such as ``512B``, ``64KiB`` or ``1MiB`` in bytes.

    Raises:
        ValueError: no unit, an unknown unit, or more than `MAX_BYTES`.
    """
    value = _amount(text, _BYTES, "size", "64KiB")
    if value > MAX_BYTES:
        raise ValueError(f"size {text!r} is more than {MAX_BYTES >> 20}MiB")
    return int(value)


def require_no_argument(name: str, argument: str) -> None:
    """Check that a handler without an argument got none.

    Raises:
        ValueError: it got one.
    """
    if argument:
        raise ValueError(f"handler {name!r} takes no argument, got {argument!r}")


def _amount(text: str, units: dict[str, float] | dict[str, int], what: str, example: str) -> float:
    found = _NUMBER.fullmatch(text)
    if found is None or found[2] not in units:
        raise ValueError(f"bad {what} {text!r}; a number and a unit ({', '.join(units)}), such as {example}")
    return float(found[1]) * units[found[2]]
