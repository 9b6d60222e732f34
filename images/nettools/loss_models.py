"""Seeded random events of a link, independent or correlated, and the loss models of netem.

With correlation ρ an outcome repeats the previous one with probability ρ and is drawn anew otherwise. So the
probability stays as configured and the lag-1 autocorrelation is exactly ρ. Kernel netem mixes successive
random numbers instead, which shifts the loss rate.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from .impairment import Impairment

Event = Callable[[], bool]  # whether it happens to the next packet


def never() -> bool:
    """Return False: the event of probability 0."""
    return False


def bernoulli(probability: float, correlation: float, random: Random) -> Event:
    """Return an event of this probability whose successive outcomes have this correlation."""
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
    """Return the event that the next packet is lost, by the loss model of the impairment."""
    if impairment.loss_state:
        return _four_states(random, *impairment.loss_state)
    if impairment.loss_gemodel:
        return _gilbert_elliott(random, *impairment.loss_gemodel)
    return bernoulli(impairment.loss, impairment.loss_correlation, random)


def _four_states(random: Random, p13: float, p31: float, p32: float, p23: float, p14: float) -> Event:
    """Return netem's `loss state`, a Markov chain with four states.

    States: 1 received, 2 received within a loss burst, 3 lost within a burst, 4 lost alone.
    Source: Salsano, Ludovici, Ordine, Giordano, "Definition of a general and intuitive loss model" (2012).
    """
    state = 1
    draw = random.random
    # State → (probability, next state)…; with the remaining probability it stays. 4 always returns to 1.
    transitions = {1: ((p14, 4), (p13, 3)), 2: ((p23, 3),), 3: ((p32, 2), (p31, 1)), 4: ((1.0, 1),)}

    def lost() -> bool:
        nonlocal state
        remaining = draw()
        for probability, next_state in transitions[state]:
            if remaining < probability:
                state = next_state
                break
            remaining -= probability
        return state >= 3

    return lost


def _gilbert_elliott(random: Random, p: float, r: float, loss_bad: float, loss_good: float) -> Event:
    """Return netem's `loss gemodel`: a good and a bad state, each with a loss probability of its own.

    `p` is the probability to change from good to bad, `r` from bad to good. Sources: Gilbert (1960), Elliott
    (1963).
    """
    bad = False
    draw = random.random

    def lost() -> bool:
        nonlocal bad
        outcome = draw() < (loss_bad if bad else loss_good)
        if draw() < (r if bad else p):
            bad = not bad
        return outcome

    return lost
