"""Quantities with units: read them as people write them, and write them again.

Every parser returns a number in one base unit (seconds, bytes, bits per second, arrivals per second, a share
of 1). A number without a unit is refused: the message names the right units.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal

_NUMBER = r"(\d+(?:\.\d+)?)"
DURATION = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
SIZE = {
    "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "KB": 10**3, "MB": 10**6, "GB": 10**9,
}  # fmt: skip
BANDWIDTH = {"bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9}
# tc reads these as bytes per second, which almost nobody means (tc(8), "RATES").
_TC_BYTES = {"bps": "bit", "kbps": "kbit", "mbps": "mbit", "gbps": "gbit"}


def _parse(
    text: object, units: dict[str, float] | dict[str, int], what: str, example: str, likely: str
) -> float:
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        raise ValueError(f"{what} is wanted, such as {example}")
    if isinstance(text, int | float):
        raise ValueError(f"{text} has no unit: write {what} such as {abs(text)}{likely}")
    match = re.fullmatch(_NUMBER + r"\s*([A-Za-z%/]*)", text.strip())
    if not match:
        raise ValueError(f"{text!r} is not {what}: write it like {example}")
    number, unit = match.groups()
    if not unit:
        raise ValueError(f"{text} has no unit: write {what} such as {text}{likely}")
    if unit in units:
        value = float(number) * units[unit]
        if math.isinf(value):
            raise ValueError(f"{number[:20]}…{unit}: the number is too large")
        return value
    if unit in _TC_BYTES and "mbit" in units:
        right = number + _TC_BYTES[unit]
        raise ValueError(f"{text!r}: tc reads {unit} as bytes per second; write {right} for bits per second")
    for known in units:
        if known.lower() == unit.lower():
            raise ValueError(f"{text!r}: write the unit as {known}: {number}{known}")
    raise ValueError(f"{text!r}: unknown unit {unit!r}; {what} has one of {', '.join(units)}")


def seconds(text: object, likely: str = "ms") -> float:
    """`50ms` → 0.05 [s]. Raises ValueError; `likely` is the unit to suggest for a bare number."""
    return _parse(text, DURATION, "a duration", "50ms or 10s", likely)


def size_bytes(text: object, likely: str = "MiB") -> int:
    """`64KiB` → 65536 [bytes]. Raises ValueError; `likely` is the unit to suggest for a bare number."""
    return round(_parse(text, SIZE, "a size", "64KiB or 1GiB", likely))


def bandwidth_bit_per_s(text: object) -> float:
    """`10mbit` → 10,000,000 [bit/s]. Raises ValueError; tc's `mbps` is explained and refused."""
    return _parse(text, BANDWIDTH, "a bit rate", "10mbit", "mbit")


def arrivals_per_s(text: object) -> float:
    """`2000/s` → 2000 [1/s]. Raises ValueError."""
    return _parse(text, {"/s": 1.0, "/min": 1 / 60}, "an arrival rate", "2000/s", "/s")


def bytes_per_s(text: object) -> float:
    """`10B/s` → 10 [bytes/s]. Raises ValueError."""
    return _parse(text, {"B/s": 1.0, "KiB/s": 1024.0}, "a pace", "10B/s", "B/s")


def share(text: object) -> float:
    """`0.1%` → 0.001. Raises ValueError; more than 100 % is refused."""
    value = _parse(text, {"%": 0.01}, "a percentage", "1%", "%")
    if value > 1:
        raise ValueError(f"{text!r} is more than 100%")
    return value


def show_seconds(value_s: float) -> str:
    """Format a duration: `40ms`, `1.5s`, `200us`."""
    for unit, factor in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value_s >= factor:
            return f"{show_plain(value_s / factor)}{unit}".replace(",", "")  # as a scenario takes it
    return "0s"


def show_duration(value_s: float) -> str:
    """Format about how long something takes: `43s`, `1min 26s`, `2h 5min`, `3 days 4h`."""
    if value_s < 59.5:
        return f"{value_s:.0f}s"
    if value_s < 3599.5:
        return _two_units(round(value_s), 60, "min", "s")
    if value_s < 86400 - 30:
        return _two_units(round(value_s / 60), 60, "h", "min")
    hours = round(value_s / 3600)
    return _two_units(hours, 24, " day" if hours < 48 else " days", "h")


def _two_units(value: int, size: int, large: str, small: str) -> str:
    whole, rest = divmod(value, size)
    return f"{whole:,}{large}" + (f" {rest}{small}" if rest else "")


def show_bytes(value: float) -> str:
    """Format a size with three significant digits: `512 B`, `47.2 KiB`, `1.30 GiB`."""
    if abs(value) < 1024:
        return f"{value:,.0f} B"
    power = min(3, int(math.log2(abs(value))) // 10)
    return f"{show_number(value / 1024**power)} {('B', 'KiB', 'MiB', 'GiB')[power]}"


def show_number(value: float) -> str:
    """Format a number with three significant digits and grouped thousands: `2,000`, `41.0`, `0.312`."""
    size = abs(value)
    if size >= 99.95 or value == 0:
        return f"{value:,.0f}"
    if size >= 9.995:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 0.9995 else f"{value:.3f}"


def show_plain(value: float) -> str:
    """Format a number as a person wrote it, never with an exponent: `0.1`, `30,000,000`, `0.00001`.

    Fractions have six significant digits; whole numbers are exact.
    """
    if not math.isfinite(value):
        return "∞" if value > 0 else str(value)
    return f"{value:,.0f}" if float(value).is_integer() else f"{Decimal(f'{value:.6g}'):,f}"


def show_ms(value_ms: float) -> str:
    """Format a measured time with three significant digits: `0.312 ms`, `41.0 ms`, `1,204 ms`."""
    return f"{show_number(value_ms)} ms"


def show_bit_rate(value_bit_per_s: float) -> str:
    """Format a bit rate with three significant digits: `512 bit/s`, `29.6 Mbit/s`, `1.00 Gbit/s`."""
    for unit, factor in (("Gbit", 1e9), ("Mbit", 1e6), ("kbit", 1e3)):
        if abs(value_bit_per_s) >= factor:
            return f"{show_number(value_bit_per_s / factor)} {unit}/s"
    return f"{show_number(value_bit_per_s)} bit/s"


def show_percent(share: float) -> str:
    """Format a share as a percentage: `0 %`, `0.030 %`, `12.5 %`, `< 0.01 %`."""
    return "< 0.01 %" if 0 < share < 0.0001 else f"{show_number(share * 100)} %"
