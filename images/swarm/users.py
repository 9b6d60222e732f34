"""A Locust user that is a connection of the engine instead of a greenlet.

Locust keeps its users in a gevent `Group` and asks little of the members: `args` (whose first is the user),
`name`, `dead`, `rawlink`, `ready`, `kill`. A `Seat` offers just that. A user then costs half a kilobyte and
no stack, and Locust's dispatch, ramp, counts and page stay right at 100,000 of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from locust import User
from locust.runners import WorkerRunner

from .settings import Settings
from .stock import user_classes

Unlink = Callable[["Seat"], None]


class Seat:
    """A user's place in the group of running users."""

    __slots__ = ("_unlink", "args", "dead")

    name = "connection"

    def __init__(self, user: ConnectionUser) -> None:
        self.args: tuple[ConnectionUser, ...] = (user,)
        self.dead = False
        self._unlink: list[Unlink] = []

    def rawlink(self, callback: Unlink) -> None:
        """Have `callback` called when the seat is given up; the group learns it that way."""
        self._unlink.append(callback)

    def ready(self) -> bool:
        """Whether the user has ended."""
        return self.dead

    def kill(self, *_: Any, **__: Any) -> None:
        """Give the seat up."""
        if not self.dead:
            self.dead = True
            for callback in self._unlink:
                callback(self)


def no_task(user: ConnectionUser) -> None:
    """Never run: the engine does the work."""


class ConnectionUser(User):
    """One connection that the engine holds; what it does is the scenario's business."""

    abstract = False
    tasks = [no_task]  # noqa: RUF012  (Locust wants one and would warn; it is never run)

    def __init__(self, environment: Any) -> None:
        self.environment = environment  # Locust's own initialiser would add what only a greenlet needs

    def start(self, group: Any) -> Seat:
        """Take a seat among the running users."""
        self._seat = self._greenlet = Seat(self)
        group.add(self._seat)
        return self._seat

    def stop(self, force: bool = False) -> bool:
        """Leave at once, forced or not: a connection has no task to finish."""
        del force
        self._seat.kill()
        return True


class ConnectionRunner(WorkerRunner):
    """A worker with one user class, which makes counting users a matter of one length.

    Locust's own count walks all users, several times per dispatch and at every report.
    """

    @property
    def user_classes_count(self) -> dict[str, int]:
        """Return the number of running users, by class name."""
        return {ConnectionUser.__name__: len(self.user_greenlets)}


def environment(kind: Callable[..., Any], events: Any, settings: Settings) -> Any:
    """Return a Locust environment for the engine's connections, or for the users of a locustfile."""
    if settings.locustfile is None:
        return kind(user_classes=[ConnectionUser], events=events)
    target = f"http://{settings.target.host}:{settings.target.port}"
    classes = user_classes(settings.locustfile)
    return kind(user_classes=classes, events=events, host=target, stop_timeout=settings.drain_s)


def quiet_spawn_warning() -> None:
    """Drop Locust's warning about spawn rates above 100: it is about greenlets, and the engine paces its
    connects."""
    logging.getLogger("locust.runners").addFilter(
        lambda record: "spawn rate is very high" not in record.getMessage()
    )
