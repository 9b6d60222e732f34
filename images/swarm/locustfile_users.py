"""Ordinary Locust users of one's own locustfile, reported with the engine's records.

They are greenlets in the worker's process, and Locust's `request` event reports each answer. So there is no
intended time, and response time is service time; it is measured by Locust and includes the scheduling of
gevent; a request that is cut off at the end is not reported. `timing` of the result says so.
"""

from __future__ import annotations

import gc
import math
import os
import resource
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic, process_time
from typing import Any

import gevent
from locust.util.load_locustfile import load_locustfile

from .errors import SettingsError
from .faults import Faults, error_kind
from .histogram import record
from .seconds import Second, Seconds
from .settings import Settings

TICK_S = 0.01
STATUS_EVERY_S = 0.1
STALL_S = 0.005  # as of the engine: a tick that is later was lost time


def user_classes(path: str) -> list[type]:
    """Return the user classes of a locustfile.

    Raises:
        SettingsError: There is no such file, or it defines no user class.
    """
    if not Path(path).is_file():
        raise SettingsError(f"locustfile: there is no file {path!r}")
    classes, _ = load_locustfile(path)
    if not classes:
        raise SettingsError(f"locustfile: {path!r} defines no user class")
    return list(classes.values())


class LocustfileEngine:
    """Replaces an `EngineProcess`: takes the same commands and reports the same records."""

    index = 0

    def __init__(
        self, settings: Settings, environment: Any, on_record: Callable[[int, dict[str, Any]], None]
    ) -> None:
        self._settings, self._environment, self._on_record = settings, environment, on_record
        self._seconds, self._faults = Seconds(drop_settled=False), Faults()
        self._users = self._peak = 0
        self._ends_s = math.inf
        self._done = False
        self._stopping: gevent.Greenlet | None = None
        self._second: Second = self._seconds.at(monotonic())
        self._cpu_s = 0.0
        environment.events.request.add_listener(self._on_request)
        self._greenlet = gevent.spawn(self._run)

    def send(self, command: Mapping[str, Any]) -> None:
        """Start the load clock on the command `start`; ignore the others."""
        if command["do"] == "start":
            settings, at_s = self._settings, command["at_mono_s"]
            self._seconds.start(at_s, settings.warmup_s, settings.measure_s, settings.cooldown_s)
            self._ends_s = at_s + settings.load_s

    def set_users(self, users: int) -> None:
        """Record how many users Locust runs."""
        self._users = users
        self._peak = max(self._peak, users)

    def stop(self) -> None:
        """Report no more."""
        self._greenlet.kill()

    def join(self, until_s: float) -> None:
        """Return at once: there is no process to wait for."""

    def _on_request(
        self, name: str, response_time: float | None, response_length: int, exception: object = None, **_: Any
    ) -> None:
        now_s = monotonic()
        took_s = (response_time or 0.0) / 1e3
        second = self._seconds.at(now_s - took_s)
        second.intended += 1
        second.sent += 1
        second.bytes_in += response_length or 0
        if exception is not None:
            self._failed(second, exception, now_s, took_s)
            return
        second.answered += 1
        self._seconds.at(now_s).completed += 1  # Locust reports an answer when it has come
        record(second.response, took_s)
        record(second.service, took_s)
        record(second.parts.setdefault(name, {}), took_s)

    def _failed(self, second: Second, exception: object, now_s: float, took_s: float) -> None:
        kind = exception_kind(exception)
        second.failed += 1
        record(second.response_censored, took_s)
        record(second.service_censored, took_s)
        second.errors[kind] = second.errors.get(kind, 0) + 1
        self._faults.add(kind, str(exception), now_s)

    def _run(self) -> None:
        self._on_record(0, {"event": "hello", "pid": os.getpid()})
        next_status_s = 0.0
        while True:
            due_s = monotonic() + TICK_S
            gevent.sleep(TICK_S)
            now_s = monotonic()
            second = self._seconds.at(now_s)
            record(second.loop_lag, now_s - due_s)
            if now_s - due_s > STALL_S:
                self._seconds.lose(due_s, now_s)
            second.connected = self._users
            if second is not self._second:
                self._next_second(second, now_s)
            if now_s >= next_status_s:
                next_status_s = now_s + STATUS_EVERY_S
                self._on_record(0, {"event": "status"} | self._status())
            if now_s >= self._ends_s:
                self._drain(now_s)

    def _drain(self, now_s: float) -> None:
        if self._stopping is None:  # `stop_timeout` of the environment is the drain
            self._stopping = gevent.spawn(self._environment.runner.stop)
        over = self._users == 0 or now_s >= self._ends_s + self._settings.drain_s
        if over and not self._done:
            self._finish()

    def _next_second(self, second: Second, now_s: float) -> None:
        cpu_s = process_time()
        self._second.cpu_s = cpu_s - self._cpu_s
        self._second, self._cpu_s = second, cpu_s
        self._report(now_s)

    def _finish(self) -> None:
        self._done = True
        gc.collect()  # closes the connections of the users that have ended
        self._report(math.inf)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        own = {
            "pid": os.getpid(),
            "cpu_user_us": round(usage.ru_utime * 1e6),
            "cpu_system_us": round(usage.ru_stime * 1e6),
            "faults": self._faults.as_record(),
        }
        self._on_record(0, {"event": "done"} | self._status() | own)

    def _report(self, until_s: float) -> None:
        # A request is reported with its answer: until the end any second may get one more.
        more = until_s < math.inf
        for second in self._seconds.changed(until_s):
            self._on_record(0, {"event": "second", "more": more} | second.as_record())

    def _status(self) -> dict[str, Any]:
        users = {"users": self._users, "ready": self._users, "connected": self._users}
        gauges = {"connected_peak": self._peak, "in_flight": 0, "slow_answered": 0, "slow_ended": 0}
        return self._seconds.totals() | users | gauges


def exception_kind(exception: object) -> str:
    """Return the contract's name for an error of a Locust client, or the name of its class."""
    cause: object = exception
    while isinstance(cause, BaseException):
        if isinstance(cause, TimeoutError) or "Timeout" in type(cause).__name__:
            return "timeout"
        if isinstance(cause, OSError) and cause.errno is not None:
            return error_kind(cause, connecting=isinstance(cause, ConnectionRefusedError))
        if type(cause).__name__ in ("HTTPError", "CatchResponseError", "LocustBadStatusCode"):
            return "wrong_answer"
        cause = cause.__cause__ or cause.__context__ or next(iter(carried_exceptions(cause)), None)
    return type(exception).__name__


def carried_exceptions(exception: BaseException) -> list[BaseException]:
    """Return the exceptions that requests and urllib3 keep in their arguments instead of chaining them."""
    carried = [*exception.args, getattr(exception, "reason", None)]
    return [each for each in carried if isinstance(each, BaseException)]
