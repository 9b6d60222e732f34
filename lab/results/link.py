"""What record.json keeps of a link: requested, configured (read back), measured (probed), counted.

Requested and configured are `Impairment`s; in JSON one holds what differs from an untouched link. A probe
sees the round trip over both directions, and its quantiles and counts are what checks need: `RoundTrips`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Annotated, Any, Literal, NamedTuple, get_type_hints

from pydantic import (
    BaseModel,
    ConfigDict,
    PlainSerializer,
    PlainValidator,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
)
from pydantic.config import JsonDict

from lab.results.base import LARGEST, Count, Number, describe, within_range
from lab.scenario.impairment import Impairment, ImpairmentFields

UNTOUCHED = Impairment()
When = Literal["before", "during", "after"]


class Directions(NamedTuple):
    """Both directions of a link: `there` from its first endpoint to its second, and `back`."""

    there: Impairment = UNTOUCHED
    back: Impairment = UNTOUCHED

    @property
    def rtt_ms(self) -> float:
        """The sum of both delays."""
        return self.there.delay_ms + self.back.delay_ms

    @property
    def loss_share(self) -> float:
        """The long-run share of round trips that are lost or corrupted in either direction."""
        return 1 - math.prod((1 - one.loss_share) * (1 - one.corrupt) for one in self)

    def without_seeds(self) -> Directions:
        """Return what was requested: seeds are of each egress, and `configured` keeps them."""
        return Directions(replace(self.there, seed=0), replace(self.back, seed=0))

    def to_json(self) -> dict[str, Any]:
        """One object if both directions are alike, else one for each; without seeds."""
        there, back = (one.to_json() for one in self.without_seeds())
        return there if there == back else {"there": there, "back": back}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Directions:
        """Reverse `to_json`. Raises ValueError for an unknown key."""
        if not set(data) & set(cls._fields):
            return cls(_kept(data), _kept(data))
        if unknown := set(data) - set(cls._fields):
            raise ValueError(f"requested: unknown {', '.join(sorted(unknown))}")
        return cls(**{name: _kept(_mapping(one)) for name, one in data.items()})


def _impairment(value: object) -> Impairment:
    return value if isinstance(value, Impairment) else _kept(_mapping(value))


def _directions(value: object) -> Directions:
    return value if isinstance(value, Directions) else Directions.from_json(_mapping(value))


def _mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{value!r} is not an object")
    return value


_FIELDS: Mapping[str, TypeAdapter[Any]] = {
    name: TypeAdapter(kind, config=ConfigDict(strict=True))
    for name, kind in get_type_hints(ImpairmentFields).items()
}
_NO_SHARES = {
    "delay_ms", "jitter_ms", "distribution", "reorder_gap", "rate_bit_per_s", "limit_packets", "seed",
}  # fmt: skip


def _kept(data: Mapping[str, Any]) -> Impairment:
    """Return an impairment of a record. Raises ValueError for an unknown key or a wrong value."""
    found = Impairment.read_back(data)
    for name in data:
        _check(name, getattr(found, name))
    return found


def _check(name: str, value: object) -> None:
    """Refuse another type than the field's, a number below 0, and a share above 1. Raises ValueError."""
    try:
        _FIELDS[name].validate_python(value)
    except ValidationError as error:
        raise ValueError(f"{name}: {describe(error)}") from None
    for number in value if isinstance(value, tuple) else (value,):
        if not isinstance(number, int | float):
            continue
        most = LARGEST if name in _NO_SHARES else 1.0
        if not 0 <= within_range(number) <= most:
            raise ValueError(f"{name}: {number:g} is out of range")


def _schema(description: str) -> WithJsonSchema:
    return WithJsonSchema(
        {"type": "object", "description": f"{description}: {', '.join(f.name for f in fields(Impairment))}."}
    )


ImpairmentField = Annotated[
    Impairment,
    PlainValidator(_impairment),
    PlainSerializer(Impairment.to_json),
    _schema("What differs from an untouched link"),
]
DirectionsField = Annotated[
    Directions,
    PlainValidator(_directions),
    PlainSerializer(Directions.to_json),
    _schema("What differs from an untouched link, in `there` and `back` if the directions are not alike"),
]


def _open(schema: JsonDict) -> None:
    schema.pop("additionalProperties", None)


class LinkModel(BaseModel):
    """Frozen; an unknown key is an error, though the schema of summary.json permits later ones."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=_open)


class Lateness(LinkModel):
    """The delay line's verdict minus its due time, in microseconds."""

    samples: Count = 0
    p50: Number | None = None
    p99: Number | None = None
    max: Number | None = None


class Counters(LinkModel):
    """Packets that left one interface for one set of peers; null where the backend does not tell.

    `dropped_queue` met a full queue, `dropped_user` an unread socket, `dropped_asked` the loss model; netem
    counts all of them in `dropped`. `bytes` start at the IP header in the delay line, at the frame in netem.
    """

    packets: Count = 0
    bytes: Count | None = None
    held: Count = 0
    dropped: Count | None = None
    dropped_queue: Count | None = None
    dropped_user: Count = 0
    dropped_asked: Count | None = None
    corrupted: Count | None = None
    duplicated: Count | None = None
    duplicates_failed: Count | None = None
    reordered: Count | None = None
    verdicts_refused: Count | None = None
    lateness_us: Lateness | None = None


class RoundTrips(LinkModel):
    """The probes of a link at one time. `rtt_ms` is the mean, null if all were lost; `by` icmp, tcp reset."""

    sent: Count
    lost: Count
    loss: Number
    by: str = ""
    rtt_ms: Number | None = None
    rtt_min_ms: Number | None = None
    rtt_p50_ms: Number | None = None
    rtt_p99_ms: Number | None = None
    rtt_deviation_ms: Number | None = None


class Measured(LinkModel):
    """Median round trip and loss of the first probes, what was requested for them, and all probes by time."""

    rtt_ms: Number | None = None
    loss: Number | None = None
    rate_bit_per_s: Number | None = None
    asked_rtt_ms: Number | None = None
    asked_loss: Number | None = None
    before: RoundTrips | None = None
    during: RoundTrips | None = None
    after: RoundTrips | None = None


class LinkChange(LinkModel):
    """A change of a link in force; times are milliseconds of CLOCK_MONOTONIC, of the last interface."""

    wanted_mono_ms: Number | None
    applied_mono_ms: Number
    there: ImpairmentField
    back: ImpairmentField


class LinkRecord(LinkModel):
    """One link of one trial.

    `configured` and `counters` are keyed by `node interface [→ peers]`. `problems` say why the link may not
    have been in force all the time: a rule that vanished, a helper that died.
    """

    endpoints: tuple[str, str]
    backend: str
    stamp: str = ""
    requested: DirectionsField = Directions()
    configured: dict[str, ImpairmentField] = {}
    measured: Measured = Measured()
    counters: dict[str, Counters] = {}
    changes: tuple[LinkChange, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Both endpoints: `swarm – servers`."""
        return " – ".join(self.endpoints)
