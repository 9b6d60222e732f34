"""Links as a scenario writes them: netem's words with units, both ways alike or each way its own."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, WithJsonSchema, model_validator

from lab.common import units
from lab.scenario.impairment import Impairment
from lab.scenario.profile import PROFILES, ProfileName
from lab.scenario.strict import Name, ScenarioModel, Seconds, Share, as_written, with_unit

BitRate = Annotated[float, *with_unit(units.bandwidth_bit_per_s, r"^\d+(\.\d+)?[kmg]?bit$", "10mbit")]
LOSS_FIELDS = {"loss", "loss_state", "loss_gemodel"}
_PERCENT = r"^\d+(\.\d+)?%$"
LOSS_SCHEMA = {
    "oneOf": [
        {"type": "string", "pattern": _PERCENT},
        *(
            {
                "type": "object",
                "properties": {
                    name: {"type": "array", "items": {"type": "string"}, "minItems": n, "maxItems": n}
                },
                "required": [name],
                "additionalProperties": False,
            }
            for name, n in (("state", 5), ("gemodel", 4))
        ),
    ]
}


def _loss(value: Any, info: ValidationInfo) -> dict[str, Any]:
    """`1%`, `{state: [p13, p31, p32, p23, p14]}` or `{gemodel: [p, r, 1-h, 1-k]}`, as fields of Impairment.

    Raises ValueError.
    """
    if not as_written(info) and isinstance(value, dict) and set(value) <= LOSS_FIELDS:
        return {name: tuple(kept) if isinstance(kept, list) else kept for name, kept in value.items()}
    if isinstance(value, dict):
        if len(value) != 1 or next(iter(value)) not in ("state", "gemodel"):
            raise ValueError("a percentage, or {state: [5 percentages]}, or {gemodel: [4 percentages]}")
        kind, shares = next(iter(value.items()))
        if not isinstance(shares, list) or len(shares) != (5 if kind == "state" else 4):
            raise ValueError(f"{kind} takes a list of {5 if kind == 'state' else 4} percentages")
        return {f"loss_{kind}": tuple(units.share(share) for share in shares)}
    return {"loss": units.share(value)}


Loss = Annotated[dict[str, float | tuple[float, ...]], BeforeValidator(_loss), WithJsonSchema(LOSS_SCHEMA)]


def _no_address(value: Any) -> Any:
    """A node by its name: addresses are the runtime's to give, anew for each trial. Raises ValueError."""
    try:
        ipaddress.ip_network(str(value), strict=False)
    except ValueError:
        return value
    raise ValueError(f"{value} is an address, and every trial has new ones: name the node or its group")


Endpoint = Annotated[Name, BeforeValidator(_no_address)]


class Direction(ScenarioModel):
    """One direction of a link, in tc-netem(8)'s words. What is not written is untouched."""

    delay: Seconds | None = None
    jitter: Seconds | None = None
    correlation: Share | None = None
    distribution: Literal["uniform", "normal", "pareto", "paretonormal"] | None = None
    loss: Loss | None = None
    loss_correlation: Share | None = None
    corrupt: Share | None = None
    duplicate: Share | None = None
    reorder: Share | None = None
    gap: int | None = Field(default=None, ge=1)
    rate: BitRate | None = None
    limit: Literal["auto"] | int | None = None

    def impairment_fields(self) -> dict[str, Any]:
        """What is written, as the fields of Impairment."""
        plain = {
            "delay_ms": _ms(self.delay),
            "jitter_ms": _ms(self.jitter),
            "delay_correlation": self.correlation,
            "distribution": self.distribution,
            "loss_correlation": self.loss_correlation,
            "corrupt": self.corrupt,
            "duplicate": self.duplicate,
            "reorder": self.reorder,
            "reorder_gap": self.gap,
            "rate_bit_per_s": self.rate,
            "limit_packets": None if self.limit == "auto" else self.limit,
            **(self.loss or {}),
        }
        return {name: value for name, value in plain.items() if value is not None}

    @model_validator(mode="after")
    def _is_possible_alone(self) -> Direction:
        if self.delay is not None:  # without one, what it says may be possible with the rest of its link
            Impairment(**self.impairment_fields())
        return self


class LinkSpec(Direction):
    """A link between two endpoints: a group (`swarm`, `servers`), a server of the scenario, or a worker.

    Its own words hold both ways; `there` (first to second endpoint) and `back` change one way. A `profile`
    stands behind them: what they do not say is as in lab/scenario/profile.py.
    """

    endpoints: tuple[Endpoint, Endpoint] = Field(strict=False)
    profile: ProfileName | None = None
    there: Direction | None = None
    back: Direction | None = None

    def impairments(self, seed: int = 0) -> tuple[Impairment, Impairment]:
        """There and back. `seed` decides the chances of the user-space delay line."""
        known = PROFILES[self.profile] if self.profile else None
        there, back = (known.there.to_json(), known.back.to_json()) if known else ({}, {})
        return self._one(there, self.there, 2 * seed), self._one(back, self.back, 2 * seed + 1)

    def _one(self, known: Mapping[str, Any], way: Direction | None, seed: int) -> Impairment:
        words: Mapping[str, Any] = {
            **known,
            **self.impairment_fields(),
            **(way.impairment_fields() if way else {}),
        }
        chances = Impairment(**words)
        return chances if chances.constant else Impairment(**{**words, "seed": seed})

    @model_validator(mode="after")
    def _is_possible(self) -> LinkSpec:
        self.impairments()
        if self.endpoints[0] == self.endpoints[1]:
            raise ValueError(f"both endpoints are {self.endpoints[0]}: a link joins two")
        return self


def _ms(value_s: float | None) -> float | None:
    return None if value_s is None else round(value_s * 1000, 6)
