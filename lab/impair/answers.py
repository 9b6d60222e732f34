"""The answers of a nettools agent (images/CONTRACT.md), and of tc(8) inside them, as values."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from lab.results.link import Counters, ImpairmentField, Lateness

Feature = Literal["netem", "tbf", "htb", "nfqueue", "raw_sockets"]


class Answer(BaseModel):
    """What our own agent answers: an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TcObject(BaseModel):
    """What `tc -j -s` prints: a newer kernel may print more."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Capabilities(Answer):
    """What a node's kernel and its agent's privileges allow; `why`: the reason for each that is false."""

    netem: bool
    tbf: bool
    htb: bool
    nfqueue: bool
    raw_sockets: bool
    why: dict[str, str] = {}

    def missing(self, feature: Feature) -> str | None:
        """Return why the feature is not available; None if it is."""
        return None if getattr(self, feature) else self.why.get(feature, f"no {feature}")


class NetemOptions(TcObject):
    """The options of a netem qdisc: seconds, bytes per second, packets, fractions of 1."""

    limit: int
    gap: int = 0
    delay: dict[str, float] = {}
    loss_random: dict[str, float] = Field({}, alias="loss-random")
    loss_state: dict[str, float] = Field({}, alias="loss-state")
    loss_gemodel: dict[str, float] = Field({}, alias="loss-gemodel")
    corrupt: dict[str, float] = {}
    duplicate: dict[str, float] = {}
    reorder: dict[str, float] = {}
    rate: dict[str, float] = {}


class Qdisc(TcObject):
    """A queueing discipline and its statistics; `netem` are its options where it is one."""

    kind: str
    handle: str
    parent: str = ""
    root: bool = False
    bytes: int = 0
    packets: int = 0
    drops: int = 0
    qlen: int = 0
    netem: NetemOptions | None = Field(None, validation_alias="options")

    @field_validator("netem", mode="before")
    @classmethod
    def _options_of_netem(cls, options: object, info: ValidationInfo) -> object:
        return options if info.data.get("kind") == "netem" else None


class Queue(Answer):
    """A queue of the delay line: the number of its NFQUEUE, its impairment, its iptables rules."""

    peers: tuple[str, ...]
    queue: int
    impairment: ImpairmentField
    rules: tuple[str, ...]


class Configured(Answer):
    """What is set on an interface, read back from the node."""

    qdiscs: tuple[Qdisc, ...]
    queues: tuple[Queue, ...]


class DelayLineCounters(Counters):
    """As `Counters`; the delay line knows why it dropped each packet."""

    packets: int
    held: int
    dropped_queue: int
    dropped_user: int
    dropped_asked: int
    lateness_us: Lateness

    def with_sum(self) -> Counters:
        """Return them with `dropped`, the sum."""
        total = self.dropped_queue + self.dropped_user + self.dropped_asked
        return Counters(**dict(self) | {"dropped": total})


class QueueCounters(Answer):
    """The counters of one queue since its start, its lateness since the last reading."""

    peers: tuple[str, ...]
    counters: DelayLineCounters


class ConfiguredAnswer(Answer):
    """To `configured`."""

    configured: Configured


class ReadAnswer(Answer):
    """To `read`."""

    configured: Configured
    queues: tuple[QueueCounters, ...]


class SetAnswer(Answer):
    """To `set`; times in milliseconds of CLOCK_MONOTONIC."""

    wanted_mono_ms: float | None
    applied_mono_ms: float
    configured: Configured


class ClearAnswer(Answer):
    """To `clear`: the number of queues that were closed."""

    cleared: int
    applied_mono_ms: float


class Samples(Answer):
    """Round trips in milliseconds; quantiles by nearest rank, null without samples."""

    min: float | None
    p50: float | None
    mean: float | None
    p99: float | None
    max: float | None
    samples: tuple[float, ...]


class ProbeAnswer(Answer):
    """To `probe`."""

    rtt_ms: Samples
    sent: int
    lost: int
    by: str


class Addresses(Answer):
    """The addresses of an interface, with prefix length."""

    addresses: tuple[str, ...]


class InterfacesAnswer(Answer):
    """To `interfaces`."""

    interfaces: dict[str, Addresses]
