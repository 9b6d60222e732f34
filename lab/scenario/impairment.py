"""The impairments of one direction of a link, named as in tc-netem(8), with the unit in every name.

Probabilities and correlations are fractions of 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal, TypedDict, cast, get_args

from lab.common.units import show_seconds

Distribution = Literal["uniform", "normal", "pareto", "paretonormal"]
DELAY_MAX_MS = 60_000.0
_PROBABILITIES = ("loss", "corrupt", "duplicate", "reorder")
_CORRELATIONS = {f"{name}_correlation": name for name in _PROBABILITIES} | {"delay_correlation": "jitter_ms"}
_RATE_MIN_BIT_PER_S = 1000.0
# The keys that a person writes, where they differ from the fields.
_WORDS = {
    "delay_ms": "delay", "jitter_ms": "jitter", "delay_correlation": "correlation", "reorder_gap": "gap",
    "limit_packets": "limit", "rate_bit_per_s": "rate",
    "loss_state": "loss: state", "loss_gemodel": "loss: gemodel",
}  # fmt: skip


class ImpairmentError(ValueError):
    """A value that is out of range, or values that exclude each other.

    `fields` are the fields of Impairment that it concerns, the likeliest error first. `message` is for where
    the key is named already; the text of the error always names it.
    """

    def __init__(self, message: str, *fields: str, text: str | None = None) -> None:
        super().__init__(text or message)
        self.message = message
        self.fields = fields


class ImpairmentFields(TypedDict, total=False):
    """Some of the fields of Impairment."""

    delay_ms: float
    jitter_ms: float
    delay_correlation: float
    distribution: Distribution
    loss: float
    loss_correlation: float
    loss_state: tuple[float, ...] | None
    loss_gemodel: tuple[float, ...] | None
    corrupt: float
    corrupt_correlation: float
    duplicate: float
    duplicate_correlation: float
    reorder: float
    reorder_correlation: float
    reorder_gap: int
    rate_bit_per_s: float | None
    limit_packets: int | None
    seed: int


@dataclass(frozen=True)
class Impairment:
    """Impairments of one direction of a link. The default impairs nothing.

    `jitter_ms` is ± for the uniform distribution and the standard deviation for the others. `loss_state` is
    (p13, p31, p32, p23, p14), `loss_gemodel` (p, r, 1-h, 1-k). `reorder` is the share of packets that are
    sent at once, ahead of delayed ones; only every `reorder_gap`-th packet is a candidate. Where
    `limit_packets` is None, it is computed from rate and delay.

    Raises ImpairmentError for values that are out of range or that exclude each other.
    """

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    delay_correlation: float = 0.0
    distribution: Distribution = "uniform"
    loss: float = 0.0
    loss_correlation: float = 0.0
    loss_state: tuple[float, ...] | None = None
    loss_gemodel: tuple[float, ...] | None = None
    corrupt: float = 0.0
    corrupt_correlation: float = 0.0
    duplicate: float = 0.0
    duplicate_correlation: float = 0.0
    reorder: float = 0.0
    reorder_correlation: float = 0.0
    reorder_gap: int = 1
    rate_bit_per_s: float | None = None
    limit_packets: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        self._check_ranges()
        self._check_together()

    def _check_ranges(self) -> None:
        for name in (*_PROBABILITIES, *_CORRELATIONS):
            if not 0 <= getattr(self, name) <= 1:
                raise _out_of_range(name, f"{getattr(self, name)} is not within 0 … 1")
        for name in ("delay_ms", "jitter_ms"):
            value = getattr(self, name)
            if value < 0:
                raise _out_of_range(name, f"{value:g} ms is below 0s")
            if not value <= DELAY_MAX_MS:
                longest = show_seconds(DELAY_MAX_MS / 1e3)
                raise _out_of_range(name, f"{show_seconds(value / 1e3)} is more than {longest}")
        if self.distribution not in get_args(Distribution):
            known = ", ".join(get_args(Distribution))
            raise _out_of_range("distribution", f"unknown {self.distribution!r}; known: {known}")
        if self.rate_bit_per_s is not None and self.rate_bit_per_s < _RATE_MIN_BIT_PER_S:
            raise _out_of_range(
                "rate_bit_per_s", f"{self.rate_bit_per_s:g} bit/s is below the minimum of 1kbit"
            )
        for name in ("limit_packets", "reorder_gap"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise _out_of_range(name, f"{value} is below 1")

    def _check_together(self) -> None:
        for name, of in _CORRELATIONS.items():
            if getattr(self, name) and not getattr(self, of):
                raise ImpairmentError(f"{_word(name)} needs {_word(of)}", name, of)
        if self.jitter_ms > self.delay_ms and self.distribution == "uniform":
            message = f"jitter {self.jitter_ms:g} ms exceeds the delay of {self.delay_ms:g} ms"
            if not self.delay_ms:
                message = f"jitter needs a delay, of at least {self.jitter_ms:g} ms here"
            raise ImpairmentError(message, "jitter_ms", "delay_ms")
        if self.distribution != "uniform" and not self.jitter_ms:
            raise ImpairmentError(
                f"distribution {self.distribution} needs jitter", "distribution", "jitter_ms"
            )
        if self.reorder_gap > 1 and not self.reorder:
            message = "gap needs reorder: it selects the packets that may be reordered"
            raise ImpairmentError(message, "reorder_gap", "reorder")
        if self.reorder and not self.delay_ms:
            message = "reorder needs a delay: it sends packets ahead of delayed ones"
            raise ImpairmentError(message, "reorder", "delay_ms")
        if sum([bool(self.loss), self.loss_state is not None, self.loss_gemodel is not None]) > 1:
            raise _out_of_range("loss", "only one of random, state and gemodel is possible")
        for name, size in (("loss_state", 5), ("loss_gemodel", 4)):
            values = getattr(self, name)
            if values is not None and not (len(values) == size and all(0 <= value <= 1 for value in values)):
                message = f"{_word(name)} needs {size} numbers within 0 … 1, not {values}"
                raise ImpairmentError(message, name)
        if self.loss_state:
            p13, p31, p32, _p23, p14 = self.loss_state
            if max(p13 + p14, p31 + p32) > 1 + 1e-9:
                message = "loss: state: p13 + p14 and p31 + p32 must be at most 1 each"
                raise ImpairmentError(message, "loss_state")

    @property
    def constant(self) -> bool:
        """Whether all packets are treated alike: a fixed delay at most."""
        random = (self.jitter_ms, self.corrupt, self.duplicate, self.reorder, self.loss_share)
        return not any(random) and self.rate_bit_per_s is None

    @property
    def loss_share(self) -> float:
        """The share of packets that the configured loss model loses in the long run."""
        if self.loss_gemodel:
            return _gilbert_elliott_share(*self.loss_gemodel)
        if self.loss_state:
            return _four_state_share(*self.loss_state)
        return self.loss

    def to_json(self) -> dict[str, object]:
        """Return what differs from the default."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) != f.default}

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Impairment:
        """Read what `to_json` returns. Raises ValueError for an unknown key."""
        return cls(**_known(data))

    @classmethod
    def read_back(cls, data: Mapping[str, object]) -> Impairment:
        """Return what a kernel or a record holds, unchecked: the kernel does not name its distribution.

        Raises:
            ValueError: For an unknown key.
        """
        found = object.__new__(cls)
        vars(found).update({f.name: f.default for f in fields(cls)})
        vars(found).update(_known(data))
        return found


def key_of(name: str) -> str:
    """Return the key of a link that sets a field: `delay_ms` → `delay`, `loss_state` → `loss`."""
    return _word(name).partition(":")[0]


def _out_of_range(name: str, message: str) -> ImpairmentError:
    return ImpairmentError(message, name, text=f"{_word(name)}: {message}")


def _word(name: str) -> str:
    """Return the key of a field as a person writes it: `delay_ms` → `delay`."""
    return _WORDS.get(name, name.replace("_", "-"))


def _known(data: Mapping[str, object]) -> ImpairmentFields:
    """Return the fields in JSON, lists as tuples. Raises ValueError for an unknown key."""
    if unknown := set(data) - {f.name for f in fields(Impairment)}:
        raise ValueError(f"impairment: unknown {', '.join(sorted(unknown))}")
    known = {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}
    return cast(ImpairmentFields, known)


def _gilbert_elliott_share(p: float, r: float, loss_bad: float, loss_good: float) -> float:
    return (p * loss_bad + r * loss_good) / (p + r) if p + r else loss_good


def _four_state_share(p13: float, p31: float, p32: float, p23: float, p14: float) -> float:
    """Stationary probability of states 3 and 4 in the chain 4 ↔ 1 ↔ 3 ↔ 2, by detailed balance."""
    p23 = p23 if p32 else 1.0  # state 2 is never entered: any probability of leaving it will do
    good, good_in_burst, burst = p31 * p23, p13 * p32, p13 * p23
    total = good * (1 + p14) + good_in_burst + burst
    return (burst + good * p14) / total if total else p14 / (1 + p14)
