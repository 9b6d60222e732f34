"""Links of a scenario: the parameters of tc-netem(8) with units, for both directions or for each."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any, Literal, TypeVar, cast

from pydantic import BeforeValidator, Field, ValidationInfo, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from lab.common import units
from lab.scenario.impairment import Impairment, ImpairmentError, ImpairmentFields, key_of
from lab.scenario.problem import wrong
from lab.scenario.profile import PROFILES, ProfileName
from lab.scenario.strict import Name, ScenarioModel, Share, ShortSeconds, as_written, with_unit
from lab.scenario.yaml_file import Keys, written

BitRate = Annotated[float, *with_unit(units.bandwidth_bit_per_s, r"^\d+(\.\d+)?[kmg]?bit$", "10mbit")]
LossFields = dict[str, float | tuple[float, ...]]
LOSS_FIELDS = {"loss", "loss_state", "loss_gemodel"}
D = TypeVar("D", bound="Direction")
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


def _loss(value: Any, info: ValidationInfo) -> LossFields:
    """Read `1%`, `{state: [p13, p31, p32, p23, p14]}` or `{gemodel: [p, r, 1-h, 1-k]}` as Impairment fields.

    Raises ValueError.
    """
    if not as_written(info) and isinstance(value, dict) and set(value) <= LOSS_FIELDS:
        return {name: tuple(kept) if isinstance(kept, list) else kept for name, kept in value.items()}
    if isinstance(value, dict):
        if len(value) != 1 or next(iter(value)) not in ("state", "gemodel"):
            raise ValueError("write a percentage, {state: [5 percentages]} or {gemodel: [4 percentages]}")
        kind, shares = next(iter(value.items()))
        if not isinstance(shares, list) or len(shares) != (5 if kind == "state" else 4):
            raise wrong(f"write a list of {5 if kind == 'state' else 4} percentages", (kind,))
        return {f"loss_{kind}": tuple(_share_at(kind, index, share) for index, share in enumerate(shares))}
    return {"loss": units.share(value)}


def _share_at(kind: str, index: int, text: object) -> float:
    try:
        return units.share(text)
    except ValueError as error:
        raise wrong(str(error), (kind, index)) from None


Loss = Annotated[LossFields, BeforeValidator(_loss), WithJsonSchema(LOSS_SCHEMA)]


def _limit(value: Any) -> Any:
    """Check the length of the queue. Raises ValueError."""
    if value is None or value == "auto" or (type(value) is int and value >= 1):
        return value
    shown = repr(value) if isinstance(value, str) else written(value)
    raise ValueError(f"{shown}: write auto, or a number of packets above 0")


def _no_address(value: Any) -> Any:
    """Refuse an address: the runtime assigns new ones for each trial. Raises ValueError."""
    try:
        ipaddress.ip_network(str(value), strict=False)
    except ValueError:
        return value
    raise ValueError(
        f"{value} is an address, and every trial has new ones: write the name of a node or group"
    )


Endpoint = Annotated[Name, BeforeValidator(_no_address)]


class Direction(ScenarioModel):
    """Impairments of one direction of a link, named as in tc-netem(8). What is not set is not impaired."""

    delay: ShortSeconds | None = None
    jitter: ShortSeconds | None = None
    correlation: Share | None = None
    distribution: Literal["uniform", "normal", "pareto", "paretonormal"] | None = None
    loss: Loss | None = None
    loss_correlation: Share | None = None
    corrupt: Share | None = None
    duplicate: Share | None = None
    reorder: Share | None = None
    gap: int | None = Field(default=None, ge=1)
    rate: BitRate | None = None
    limit: Annotated[Literal["auto"] | int | None, BeforeValidator(_limit)] = None

    def impairment_fields(self) -> ImpairmentFields:
        """Return what is set, as fields of Impairment."""
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
        given = {name: value for name, value in plain.items() if value is not None}
        return cast(ImpairmentFields, given)

    @model_validator(mode="after")
    def _is_possible_alone(self) -> Direction:
        if self.delay is not None:  # without a delay, the rest of the link decides whether it is possible
            try:
                Impairment(**self.impairment_fields())
            except ImpairmentError as error:
                raise impossible(error, (self, ())) from None
        return self


class LinkSpec(Direction):
    """A link between the swarm (`swarm`, a group or a worker) and the servers (`servers` or one of them).

    The keys of the link hold in both directions. `there` (first to second endpoint) and `back` override them
    in one direction. A `profile` sets what none of them sets (lab/scenario/profile.py).
    """

    endpoints: tuple[Endpoint, Endpoint] = Field(strict=False)
    profile: ProfileName | None = None
    there: Direction | None = None
    back: Direction | None = None

    def impairments(self, seed: int = 0) -> tuple[Impairment, Impairment]:
        """Return the impairments there and back; `seed` is for the random numbers of the delay line."""
        profile = PROFILES[self.profile] if self.profile else None
        there, back = (profile.there, profile.back) if profile else (Impairment(), Impairment())
        return (
            self._impairment(there, self.there, 2 * seed),
            self._impairment(back, self.back, 2 * seed + 1),
        )

    def _impairment(self, profile: Impairment, own: Direction | None, seed: int) -> Impairment:
        fields = (override(self, own) if own else self).impairment_fields()
        if LOSS_FIELDS & fields.keys():
            fields = {"loss": 0.0, "loss_state": None, "loss_gemodel": None, **fields}
        unseeded = replace(profile, **fields)
        return unseeded if unseeded.constant else replace(unseeded, seed=seed)

    def holders(self, at: Keys = ()) -> Iterator[tuple[Direction, Keys]]:
        """Yield the directions that set values, and the path of each below `at`: the one that wins first."""
        for name in ("there", "back"):
            if own := getattr(self, name):
                yield own, (*at, name)
        yield self, at

    @model_validator(mode="after")
    def _is_possible(self) -> LinkSpec:
        try:
            self.impairments()
        except ImpairmentError as error:
            raise impossible(error, *self.holders()) from None
        if self.endpoints[0] == self.endpoints[1]:
            message = f"both endpoints are {self.endpoints[0]}: a link joins two different endpoints"
            raise wrong(message, ("endpoints", 1), ("endpoints", 0))
        return self


def impossible(error: ImpairmentError, *holders: tuple[Direction, Keys]) -> PydanticCustomError:
    """Make the error of a validator: at the keys that set the fields, those of the first holder first."""
    keys = [key_of(name) for name in error.fields]
    found = [(*at, key) for one, at in holders for key in keys if _is_set(one, key)]
    found += [(*at, "profile") for one, at in holders if isinstance(one, LinkSpec) and one.profile]
    return wrong(error.message, *found) if found else wrong(str(error))


def _is_set(direction: Direction, key: str) -> bool:
    return getattr(direction, key.replace("-", "_"), None) is not None


def override(lower: D, upper: Direction) -> D:
    """Return `lower` with the fields that `upper` sets. A loss of another kind drops the loss correlation."""
    fields = {name: value for name, value in upper if name in Direction.model_fields and value is not None}
    if lower.loss and upper.loss and lower.loss.keys() != upper.loss.keys():
        fields = {"loss_correlation": None, **fields}
    return lower.model_copy(update=fields)


def _ms(value_s: float | None) -> float | None:
    return None if value_s is None else round(value_s * 1000, 6)
