"""The impairment of a link as the orchestrator sends it (JSON), with the options of tc-netem(8).

Probabilities and correlations are fractions of 1, delays are milliseconds, rates bits per second.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

DISTRIBUTIONS = ("uniform", "normal", "pareto", "paretonormal")


@dataclass(frozen=True, slots=True)
class Impairment:
    """The impairment of one direction of a link; the default is none.

    `loss_state` is (p13, p31, p32, p23, p14), `loss_gemodel` (p, r, 1-h, 1-k); at most one loss model is set.
    `reorder` is the probability that a packet is sent ahead without delay, from the `reorder_gap`-th packet
    after the last such one on.
    """

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    delay_correlation: float = 0.0
    distribution: str = "uniform"
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
    limit_packets: int = 1000
    seed: int = 0

    @classmethod
    def from_json(cls, document: Mapping[str, object]) -> Impairment:
        """Read a JSON object.

        Raises:
            ValueError: A key is unknown or a value out of range.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(document) - known):
            raise ValueError(
                f"impairment: unknown {', '.join(unknown)}; known are {', '.join(sorted(known))}"
            )
        given = {key: tuple(value) if isinstance(value, list) else value for key, value in document.items()}
        impairment = cls(**given)  # type: ignore[arg-type]
        impairment.validate()
        return impairment

    def validate(self) -> None:
        """Check each value by itself; the orchestrator has checked the combination.

        Raises:
            ValueError: A value is out of range.
        """
        for name in _FRACTIONS:
            for value in _numbers(getattr(self, name)):
                if not 0 <= value <= 1:
                    raise ValueError(f"{name}: {value} is not a fraction of 1")
        for name in ("delay_ms", "jitter_ms"):
            if not 0 <= getattr(self, name) <= _DELAY_MAX_MS:
                raise ValueError(f"{name}: {getattr(self, name)} is not within 0 … {_DELAY_MAX_MS} ms")
        if self.distribution not in DISTRIBUTIONS:
            raise ValueError(
                f"distribution: unknown {self.distribution!r}; known are {', '.join(DISTRIBUTIONS)}"
            )
        if self.rate_bit_per_s is not None and self.rate_bit_per_s <= 0:
            raise ValueError(f"rate_bit_per_s: {self.rate_bit_per_s} is not above 0")
        if self.limit_packets < 1 or self.reorder_gap < 1:
            raise ValueError("limit_packets and reorder_gap must be at least 1")

    @property
    def has_loss(self) -> bool:
        """Whether a loss model is set."""
        return bool(self.loss or self.loss_state or self.loss_gemodel)

    @property
    def constant(self) -> bool:
        """Whether all packets are treated alike: they can be released in runs and need no segmentation."""
        random = self.jitter_ms or self.corrupt or self.duplicate or self.reorder or self.has_loss
        return not random and self.rate_bit_per_s is None

    @property
    def needs_lengths(self) -> bool:
        """Whether the length of each packet is needed."""
        return self.rate_bit_per_s is not None

    @property
    def needs_payload(self) -> bool:
        """Whether the bytes of a packet may be changed or sent again."""
        return bool(self.corrupt or self.duplicate)


_DELAY_MAX_MS = 60_000
_PROBABILITIES = ("loss", "corrupt", "duplicate", "reorder")
_FRACTIONS = (
    *_PROBABILITIES,
    *(f"{name}_correlation" for name in (*_PROBABILITIES, "delay")),
    "loss_state",
    "loss_gemodel",
)


def _numbers(value: float | tuple[float, ...] | None) -> tuple[float, ...]:
    if value is None:
        return ()
    return value if isinstance(value, tuple) else (value,)
