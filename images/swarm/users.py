"""Locust users that are connections of the engine instead of greenlets.

Locust keeps its users in a gevent `Group`, which needs little of its members: `args` (the first is the
user), `name`, `dead`, `rawlink`, `ready`, `kill`. A `UserHandle` has just these. A user then takes half a
kilobyte and no stack, and Locust's dispatch, ramp, counts and page work with 100,000 of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from locust import User
from locust.runners import WorkerRunner

from .locustfile_users import user_classes
from .settings import Settings

Callback = Callable[["UserHandle"], None]


class UserHandle:
    """Stands for a user in the group of running users, where Locust has a greenlet."""

    __slots__ = ("_callbacks", "args", "dead")

    name = "connection"

    def __init__(self, user: ConnectionUser) -> None:
        self.args: tuple[ConnectionUser, ...] = (user,)
        self.dead = False
        self._callbacks: list[Callback] = []

    def rawlink(self, callback: Callback) -> None:
        """Have `callback` called when the user ends: the group removes it that way."""
        self._callbacks.append(callback)

    def ready(self) -> bool:
        """Whether the user has ended."""
        return self.dead

    def kill(self, *_: Any, **__: Any) -> None:
        """End the user."""
        if not self.dead:
            self.dead = True
            for callback in self._callbacks:
                callback(self)


def no_task(user: ConnectionUser) -> None:
    """Do nothing: Locust never runs it, the engine sends the requests."""


class ConnectionUser(User):
    """A user whose requests the engine sends on a connection."""

    abstract = False
    tasks = [no_task]  # noqa: RUF012  (without one Locust warns; it is never run)

    def __init__(self, environment: Any) -> None:
        self.environment = environment  # User.__init__ would add what only a greenlet needs

    def start(self, group: Any) -> UserHandle:
        """Add a handle to the running users."""
        self._handle = self._greenlet = UserHandle(self)
        group.add(self._handle)
        return self._handle

    def stop(self, force: bool = False) -> bool:
        """End at once, forced or not: a connection has no task to finish."""
        del force
        self._handle.kill()
        return True


class ConnectionRunner(WorkerRunner):
    """A worker runner that counts its users by the length of their group: they are all of one class.

    Locust's own count walks all users, several times per dispatch and at every report.
    """

    @property
    def user_classes_count(self) -> dict[str, int]:
        """Return the number of running users, by class name."""
        return {ConnectionUser.__name__: len(self.user_greenlets)}


def make_environment(kind: Callable[..., Any], events: Any, settings: Settings) -> Any:
    """Return a Locust environment for the engine's connections, or for the users of a locustfile."""
    if settings.locustfile is None:
        return kind(user_classes=[ConnectionUser], events=events)
    target = f"http://{settings.target.host}:{settings.target.port}"
    classes = user_classes(settings.locustfile)
    return kind(user_classes=classes, events=events, host=target, stop_timeout=settings.drain_s)


def silence_spawn_rate_warning() -> None:
    """Filter Locust's warning about spawn rates above 100: it is meant for greenlets."""
    logging.getLogger("locust.runners").addFilter(
        lambda record: "spawn rate is very high" not in record.getMessage()
    )
