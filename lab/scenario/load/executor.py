"""The base classes of executors (the term is from k6), and the table of all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, TypeVar

from lab.common import units
from lab.scenario.load.fields import LoadFields
from lab.scenario.load.settings import LoadSettings
from lab.scenario.load.think_time import ThinkTime
from lab.scenario.problem import wrong
from lab.scenario.strict import unknown

KEYS = ("rate", "start-rate", "arrivals", "think-time", "stages")


class Executor(ABC):
    """How the requests of a load are scheduled.

    `required` are its required keys with an example of each, `optional` its other keys. An executor that is
    not `written` is found in records only: other keys of the swarm imply it.
    """

    name: ClassVar[str]
    required: ClassVar[Mapping[str, str]] = {}
    optional: ClassVar[tuple[str, ...]] = ()
    closed: ClassVar[bool] = False
    ramping: ClassVar[bool] = False
    written: ClassVar[bool] = True

    def check(self, load: LoadFields) -> None:
        """Check the keys of the load.

        Raises ValueError for keys that are missing, not taken, or exclude each other.
        """
        given = [key for key in KEYS if getattr(load, key.replace("-", "_")) not in (None, ())]
        for key, example in self.required.items():
            if key not in given:
                raise wrong(f"{self.name} needs {key} (such as {example})", (), ("executor",))
        takes = (*self.required, *self.optional)
        for key in given:
            if key not in takes:
                message = f"{self.name} takes no {key}; it takes {', '.join(takes) or 'no other key'}"
                raise wrong(message, (key,), ("executor",), at_key=True)

    def rates(self, load: LoadFields) -> tuple[float, ...]:
        """Return requests/s at the window's start and at the end of each stage; empty for a closed load."""
        return ()

    def max_users(self, load: LoadFields, users: int) -> int:
        """Return the maximum number of users, of a swarm that starts with `users`."""
        return users

    @abstractmethod
    def describe(self, load: LoadFields) -> str:
        """Describe the load in a few words."""

    @abstractmethod
    def settings(self, load: LoadFields) -> LoadSettings:
        """Return `load` of LAB_SWARM (images/CONTRACT.md): the scenario's keys, with units in the names."""


class OpenLoad(Executor):
    """An open load: requests follow the clock and do not wait for the server."""

    def check(self, load: LoadFields) -> None:
        """Check the keys; also raise ValueError for a load that sends no request."""
        super().check(load)
        for number, stage in enumerate(load.stages):
            if isinstance(stage.target, int):
                message = f"{self.name} needs a rate, such as 900/s"
                raise wrong(message, ("stages", number, "target"), ("executor",))
        if not any(self.rates(load)):
            keys = [(key,) for key in ("rate", "start-rate", "stages") if key in self.required]
            raise wrong("the rate is always 0/s: no request would be sent", *keys)

    def describe(self, load: LoadFields) -> str:
        """Describe the load: `open: 2,000 arrivals/s`, `open: 100 → 900 in 5s arrivals/s, Poisson`."""
        first, *others = (f"{rate:,g}" for rate in self.rates(load))
        stages = "".join(
            f" → {rate} in {units.show_seconds(stage.duration)}"
            for rate, stage in zip(others, load.stages, strict=True)
        )
        return f"open: {first}{stages} arrivals/s" + (", Poisson" if load.arrivals == "poisson" else "")

    def arrivals_settings(self, load: LoadFields) -> LoadSettings:
        """Return `arrivals` for LAB_SWARM where the scenario sets it."""
        return {"arrivals": load.arrivals} if load.arrivals is not None else {}


class ClosedLoad(Executor):
    """A closed load: a user waits for the answer, pauses for the think time, and sends its next request."""

    closed = True

    def describe(self, load: LoadFields) -> str:
        """Describe the load: `closed: think time 500ms, → 900 users in 5s`."""
        think = load.think_time
        pause = think.describe() if isinstance(think, ThinkTime) else units.show_seconds(think or 0.0)
        stages = (f", → {s.target:,} users in {units.show_seconds(s.duration)}" for s in load.stages)
        return f"closed: think time {pause}{''.join(stages)}"

    def settings(self, load: LoadFields) -> LoadSettings:
        """Return `load` of LAB_SWARM."""
        if isinstance(load.think_time, ThinkTime):
            return {"executor": self.name, "think_time": load.think_time.settings()}
        return {"executor": self.name, "think_time_s": load.think_time}


EXECUTORS: dict[str, Executor] = {}
E = TypeVar("E", bound=Executor)


def register(kind: type[E]) -> type[E]:
    """Add an executor to the table. Raises ValueError if its name is taken."""
    if kind.name in EXECUTORS:
        raise ValueError(f"two executors have the name {kind.name}")
    EXECUTORS[kind.name] = kind()
    return kind


def find(name: str, written: bool) -> Executor:
    """Find an executor by name; with `written`, only one that a person may write. Raises ValueError."""
    known = {key: one for key, one in EXECUTORS.items() if one.written or not written}
    if name not in known:
        raise ValueError(unknown(name, [key for key, one in known.items() if one.written], "executor"))
    return known[name]
