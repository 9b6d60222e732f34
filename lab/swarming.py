"""The swarm's part of a scenario: who sends, how many, when. Words: Locust's users, k6's executors."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from lab.part import Arrivals, Part, Seconds

Wire = Literal["http1", "echo", "greet", "datagram"]


class Load(Part):
    """Open (`constant-arrival-rate`) or closed (`constant-users`) load."""

    executor: Literal["constant-arrival-rate", "constant-users"]
    rate: Arrivals | None = None
    think_time: Seconds | None = None

    @model_validator(mode="after")
    def _belongs(self) -> Load:
        open_load = self.executor == "constant-arrival-rate"
        if open_load and (self.rate is None or self.think_time is not None):
            raise ValueError("constant-arrival-rate takes a rate (such as 2000/s) and no think-time")
        if not open_load and (self.think_time is None or self.rate is not None):
            raise ValueError("constant-users takes a think-time (such as 500ms, or 0s) and no rate")
        return self


class Phases(Part):
    """The load clock: warm-up, then the measured window."""

    warmup: Seconds = 3.0
    measure: Seconds = 10.0

    @model_validator(mode="after")
    def _long_enough(self) -> Phases:
        if self.measure < 1:
            raise ValueError("measure must be at least 1s: figures are kept per second")
        return self


class Swarm(Part):
    """The client side. A user is a connection."""

    wire: Wire = "http1"
    workers: int = Field(default=2, ge=1, le=64)
    users: int = Field(ge=1, le=1_000_000)
    spawn_rate: float = Field(default=500, gt=0)
    load: Load
    phases: Phases = Phases()
    connect_deadline: Seconds = 10.0
    request_timeout: Seconds = 5.0
    drain: Seconds = 5.0

    @model_validator(mode="after")
    def _shares(self) -> Swarm:
        if self.users < self.workers:
            raise ValueError(f"{self.workers} workers cannot share {self.users} users: at least one each")
        return self
