"""What every executor offers: checked settings, and a run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from swarm.fields import JsonObject
from swarm.load import LoadProcess, Send
from swarm.seconds import Seconds


@dataclass(frozen=True)
class Start:
    """What an engine knows when its load starts; times are CLOCK_MONOTONIC seconds.

    `engine` is its number among all engines of the swarm. It runs share `position` of the `of` equal shares
    of the load: engines without users have none.
    """

    send: Send
    seconds: Seconds
    start_s: float
    warmup_s: float
    end_s: float
    seed: int
    engine: int = 0
    position: int = 0
    of: int = 1


@dataclass(frozen=True)
class UserStep:
    """A change of the number of users: to `users`, at `rate_per_s` users a second, over `duration_s`."""

    duration_s: float
    users: int
    rate_per_s: float


class Executor(ABC):
    """The settings of one load, and how an engine runs it."""

    kind: ClassVar[str]  # the value of `load.executor`
    ramps_users: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def parse(cls, raw: JsonObject) -> Executor:
        """Check the `load` setting.

        Raises:
            SettingsError: A setting is wrong; the message names it.
        """

    @abstractmethod
    def run(self, start: Start) -> LoadProcess:
        """Return the process that sends this engine's share of the load."""

    @property
    def peak_rate_per_s(self) -> float | None:
        """Highest arrival rate of all engines together; None for a closed load, whose rate is not known."""
        return None

    def peak_spawn_rate_per_s(self, users: int, spawn_rate_per_s: float) -> float:
        """Return how fast connections may have to be opened, in users a second."""
        return spawn_rate_per_s

    def user_steps(self, users: int) -> Sequence[UserStep]:
        """Return the changes of the number of users in the measured window, which begins with `users`."""
        return ()
