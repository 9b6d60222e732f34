"""Seeded jitter of a link: the delay distributions of netem, with iproute2's own tables.

With correlation ρ a deviation repeats the previous one with probability ρ and is drawn anew otherwise, so the
distribution stays as configured. Kernel netem mixes successive random numbers instead, which narrows it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

from .impairment import Impairment

_TABLE_SCALE = 8192  # NETEM_DIST_SCALE: a table entry is in units of 1/8192 standard deviation
_TABLE_FOLDERS = (
    "/usr/lib/tc",
    "/usr/share/tc",
    "/usr/lib/x86_64-linux-gnu/tc",
    "/usr/lib/aarch64-linux-gnu/tc",
)


def jitter_sampler(impairment: Impairment, random: Random) -> Callable[[], int]:
    """Return a function that draws the deviation of the next packet's delay, in nanoseconds.

    A uniform deviation is within ± `jitter_ms`; of the other distributions `jitter_ms` is the standard
    deviation.

    Raises:
        FileNotFoundError: iproute2 has no table of the distribution.
    """
    independent = _independent_sampler(impairment.jitter_ms * 1e6, impairment.distribution, random.random)
    correlation, draw = impairment.delay_correlation, random.random
    if not correlation:
        return independent
    last_ns = independent()

    def correlated() -> int:
        nonlocal last_ns
        if draw() >= correlation:
            last_ns = independent()
        return last_ns

    return correlated


def distribution_table(name: str) -> list[int]:
    """Return the inverse distribution function that tc passes to netem: iproute2's `NAME.dist`.

    Raises:
        FileNotFoundError: iproute2 has no table of that name, or its tables are not installed.
    """
    for folder in _TABLE_FOLDERS:
        path = Path(folder) / f"{name}.dist"
        if path.exists():
            lines = (line for line in path.read_text().splitlines() if not line.startswith("#"))
            return [int(word) for line in lines for word in line.split()]
    raise FileNotFoundError(f"distribution {name}: no {name}.dist of iproute2 in {', '.join(_TABLE_FOLDERS)}")


def _independent_sampler(jitter_ns: float, distribution: str, draw: Callable[[], float]) -> Callable[[], int]:
    if distribution == "uniform":

        def uniform() -> int:
            return int((2 * draw() - 1) * jitter_ns)

        return uniform
    table_ns = [int(entry * jitter_ns / _TABLE_SCALE) for entry in distribution_table(distribution)]

    def from_table() -> int:
        return table_ns[int(draw() * len(table_ns))]

    return from_table
