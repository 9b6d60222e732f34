"""Seeded randomness of a link: independent or correlated events, loss models, delay distributions.

A correlation ρ means here what it says: the probability (or distribution) stays as asked, and neighbours
correlate by exactly ρ, because with probability ρ the last outcome is repeated and else drawn afresh. Kernel
netem mixes neighbours' random numbers instead, which narrows the delays and shifts the loss rate.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

from .impairment import Impairment

Event = Callable[[], bool]
_TABLE_SCALE = 8192  # NETEM_DIST_SCALE: table entries are standard deviations times this
_TABLE_FOLDERS = (
    "/usr/lib/tc",
    "/usr/share/tc",
    "/usr/lib/x86_64-linux-gnu/tc",
    "/usr/lib/aarch64-linux-gnu/tc",
)


def never() -> bool:
    """The event that does not happen."""
    return False


def event(probability: float, correlation: float, random: Random) -> Event:
    """An event of that probability; each outcome repeats the one before with probability `correlation`."""
    if not probability:
        return never
    draw = random.random
    if not correlation:
        return lambda: draw() < probability
    last = draw() < probability

    def correlated() -> bool:
        nonlocal last
        if draw() >= correlation:
            last = draw() < probability
        return last

    return correlated


def loss(impairment: Impairment, random: Random) -> Event:
    """Whether the next packet is lost, by the model that the impairment names."""
    if impairment.loss_state:
        return _four_states(random, *impairment.loss_state)
    if impairment.loss_gemodel:
        return _gilbert_elliott(random, *impairment.loss_gemodel)
    return event(impairment.loss, impairment.loss_correlation, random)


def jitter_ns(impairment: Impairment, random: Random) -> Callable[[], int]:
    """Deviation of the next packet's delay. Uniform: ± jitter; others: jitter is the standard deviation."""
    fresh = _deviation_ns(impairment.jitter_ms * 1e6, impairment.distribution, random.random)
    correlation, draw = impairment.delay_correlation, random.random
    if not correlation:
        return fresh
    last = fresh()

    def correlated() -> int:
        nonlocal last
        if draw() >= correlation:
            last = fresh()
        return last

    return correlated


def _deviation_ns(scale_ns: float, distribution: str, draw: Callable[[], float]) -> Callable[[], int]:
    if distribution == "uniform":

        def uniform() -> int:
            return int((2 * draw() - 1) * scale_ns)

        return uniform
    table = [int(entry * scale_ns / _TABLE_SCALE) for entry in distribution_table(distribution)]

    def tabled() -> int:
        return table[int(draw() * len(table))]

    return tabled


def distribution_table(name: str) -> list[int]:
    """The inverse distribution that `tc` itself hands to netem, from iproute2's `NAME.dist`.

    Raises FileNotFoundError when iproute2's tables are not installed.
    """
    for folder in _TABLE_FOLDERS:
        path = Path(folder) / f"{name}.dist"
        if path.exists():
            lines = (line for line in path.read_text().splitlines() if not line.startswith("#"))
            return [int(word) for line in lines for word in line.split()]
    raise FileNotFoundError(f"distribution {name}: no {name}.dist of iproute2 in {', '.join(_TABLE_FOLDERS)}")


def _four_states(random: Random, p13: float, p31: float, p32: float, p23: float, p14: float) -> Event:
    """Salsano, Ludovici, Ordine, Giordano, "Definition of a general and intuitive loss model" (2012).

    States: 1 good reception, 2 good reception within a burst, 3 loss within a burst, 4 isolated loss.
    """
    state = 1
    draw = random.random
    # state → (probability, next state)…; what is left stays, but 4 always returns to 1
    moves = {1: ((p14, 4), (p13, 3)), 2: ((p23, 3),), 3: ((p32, 2), (p31, 1)), 4: ((1.0, 1),)}

    def lost() -> bool:
        nonlocal state
        at = draw()
        for probability, target in moves[state]:
            if at < probability:
                state = target
                break
            at -= probability
        return state >= 3

    return lost


def _gilbert_elliott(random: Random, p: float, r: float, loss_bad: float, loss_good: float) -> Event:
    """Gilbert (1960), Elliott (1963): a good and a bad state, left with p and r, each with its own loss."""
    bad = False
    draw = random.random

    def lost() -> bool:
        nonlocal bad
        outcome = draw() < (loss_bad if bad else loss_good)
        if draw() < (r if bad else p):
            bad = not bad
        return outcome

    return lost
