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
    "limit_packets": "limit", "loss_state": "loss: state", "loss_gemodel": "loss: gemodel",
}  # fmt: skip


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

    Raises ValueError for values that are out of range or that exclude each other.
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
                raise ValueError(f"{_word(name)}: {getattr(self, name)} is not within 0 … 1")
        for name in ("delay_ms", "jitter_ms"):
            value = getattr(self, name)
            if value < 0:
                raise ValueError(f"{_word(name)}: {value:g} ms is below 0s")
            if not value <= DELAY_MAX_MS:
                longest = show_seconds(DELAY_MAX_MS / 1e3)
                raise ValueError(f"{_word(name)}: {show_seconds(value / 1e3)} is more than {longest}")
        if self.distribution not in get_args(Distribution):
            known = ", ".join(get_args(Distribution))
            raise ValueError(f"distribution: unknown {self.distribution!r}; known: {known}")
        if self.rate_bit_per_s is not None and self.rate_bit_per_s < _RATE_MIN_BIT_PER_S:
            raise ValueError(f"rate: {self.rate_bit_per_s:g} bit/s is below the minimum of 1kbit")
        for name in ("limit_packets", "reorder_gap"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{_word(name)}: {value} is below 1")

    def _check_together(self) -> None:
        for name, of in _CORRELATIONS.items():
            if getattr(self, name) and not getattr(self, of):
                raise ValueError(f"{_word(name)} needs {_word(of)}")
        if self.jitter_ms > self.delay_ms and self.distribution == "uniform":
            raise ValueError(f"jitter {self.jitter_ms:g} ms exceeds the delay of {self.delay_ms:g} ms")
        if self.distribution != "uniform" and not self.jitter_ms:
            raise ValueError(f"distribution {self.distribution} needs jitter")
        if self.reorder_gap > 1 and not self.reorder:
            raise ValueError("gap needs reorder: it selects the packets that may be reordered")
        if self.reorder and not self.delay_ms:
            raise ValueError("reorder needs a delay: it sends packets ahead of delayed ones")
        if sum([bool(self.loss), self.loss_state is not None, self.loss_gemodel is not None]) > 1:
            raise ValueError("loss: only one of random, state and gemodel is possible")
        for name, size in (("loss_state", 5), ("loss_gemodel", 4)):
            values = getattr(self, name)
            if values is not None and not (len(values) == size and all(0 <= value <= 1 for value in values)):
                raise ValueError(f"{_word(name)} needs {size} numbers within 0 … 1, not {values}")
        if self.loss_state:
            p13, p31, p32, _p23, p14 = self.loss_state
            if max(p13 + p14, p31 + p32) > 1 + 1e-9:
                raise ValueError("loss: state: p13 + p14 and p31 + p32 must be at most 1 each")

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
