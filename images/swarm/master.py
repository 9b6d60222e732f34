"""The swarm's master: a Locust master that agrees on one load clock and merges what the engines tell.

It ramps users by Locust's own dispatch, waits until they are connected (or their deadline has passed),
fixes the moment at which the load begins, and prints the events of the node contract. A worker that dies or
falls silent makes the load void: it is named and everything ends; its users are never handed to others.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from time import monotonic
from typing import Any

import gevent
from gevent.event import Event

from locust.env import Environment  # isort: skip  (patches the process: before all that opens sockets)
from locust import events

from .errors import SwarmError
from .events import emit, say
from .histogram import encode, quantile_us
from .merge import Collection, merged_faults
from .settings import Settings
from .users import ConnectionUser, quiet_spawn_warning

WORKERS_S = 60.0  # for all workers to come
GO_S = 600.0  # for SIGUSR1
SILENCE_S = 4.0  # of an engine that should tell its status ten times a second
HEADWAY_S = 0.5  # from the decision to the start of the load clock: the message has to be there before
MERGE_S = 10.0  # on top of the drain, for the last records to arrive
LOOK_S = 0.02
PROGRESS_S = 1.0


class Stopped(Exception):
    """SIGTERM has come."""


class WorkerLostError(SwarmError):
    """A worker died or fell silent."""


def main(settings: Settings) -> int:
    """Run one load; return the exit code."""
    quiet_spawn_warning()
    master = Master(settings)
    gevent.signal_handler(signal.SIGTERM, master.stopped.set)
    gevent.signal_handler(signal.SIGUSR1, master.go.set)
    try:
        master.run()
        master.stopped.wait(settings.linger_s)  # the workers stay with us: links and answers are probed again
    except Stopped:
        say("info", "stopped by SIGTERM")
    finally:
        master.close()
    return 0


class Master:
    """One load from the first worker's hello to the result."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.go, self.stopped = Event(), Event()
        self._engines: dict[str, dict[str, Any]] = {}  # "worker:engine" → its latest status
        self._takers: list[str] = []  # the engines that have users, hence a share of the load
        self._heard_s: dict[str, float] = {}
        self._pids: dict[int, int] = {}
        self._lost: tuple[int, str] | None = None
        self._collection = Collection()
        self._connected_peak = 0
        self._phase = "ready"
        self._spawned = Event()
        self._looked_s = monotonic()
        self._environment = Environment(user_classes=[ConnectionUser], events=events)
        self._environment.events.spawning_complete.add_listener(lambda **_: self._spawned.set())  # type: ignore[no-untyped-call]
        self._runner = self._environment.create_master_runner("*", settings.master.port)
        for kind, listener in (
            ("swarm_hello", self._on_hello),
            ("swarm_record", self._on_record),
            ("swarm_failed", self._on_failed),
        ):
            self._runner.register_message(kind, listener)

    # -- the story

    def run(self) -> None:
        """Wait for the workers, for SIGUSR1, ramp, load, drain, tell."""
        settings = self._settings
        self._wait(lambda: len(self._pids) == settings.workers, WORKERS_S, self._missing)
        emit("ready", role="master", pid=os.getpid())
        self._wait(self.go.is_set, GO_S, lambda: "nobody said go (SIGUSR1)")
        progress = gevent.spawn(self._tell_progress)
        try:
            self._spawn()
            start_s = self._start()
            self._follow(start_s)
            self._tell(start_s)
        except WorkerLostError:
            self._tell_seconds()
            assert self._lost is not None
            emit("worker_lost", worker_index=self._lost[0], says=self._lost[1])
            raise
        finally:
            progress.kill()

    def close(self) -> None:
        """Send the workers home."""
        self._runner.send_message("swarm_end")
        self._runner.greenlet.kill(block=True, timeout=1.0)
        self._runner.server.close(linger=500)  # type: ignore[no-untyped-call]

    def _missing(self) -> str:
        missing = sorted(set(range(self._settings.workers)) - set(self._pids))
        return f"workers that did not come: {', '.join(map(str, missing))}"

    def _spawn(self) -> None:
        settings = self._settings
        self._enter("spawn", monotonic())
        gevent.spawn(self._runner.start, settings.users, settings.spawn_rate_per_s)
        ramp_s = settings.users / settings.spawn_rate_per_s
        self._wait(self._spawned.is_set, 2 * ramp_s + 30.0, lambda: "Locust did not finish spawning")
        asked_s = monotonic()
        while self._sum("ready") < settings.users and monotonic() < asked_s + settings.connect_deadline_s:
            self._look()
        if self._sum("ready") < settings.users:
            say(
                "warning",
                f"{self._sum('ready')} of {settings.users} users are connected; going on with these",
            )

    def _start(self) -> float:
        start_s = monotonic() + HEADWAY_S
        self._takers = sorted((e for e, s in self._engines.items() if s["users"] > 0), key=_numbers)
        shares = {engine: (position, len(self._takers)) for position, engine in enumerate(self._takers)}
        self._runner.send_message("swarm_start", {"at_mono_s": start_s, "shares": shares})
        self._enter("warmup", start_s)
        return start_s

    def _follow(self, start_s: float) -> None:
        settings = self._settings
        for phase, at_s in (
            ("measure", start_s + settings.warmup_s),
            ("drain", start_s + settings.load_s),
        ):
            while monotonic() < at_s:
                self._look()
            self._enter(phase, at_s)
        self._wait(self._all_done, settings.drain_s + MERGE_S, self._not_done)

    def _all_done(self) -> bool:
        return set(self._takers) == set(self._collection.done)

    def _not_done(self) -> str:
        late = sorted(set(self._takers) - set(self._collection.done))
        return f"the drain did not end in engines {', '.join(late)}"

    # -- what is told

    def _enter(self, phase: str, starts_s: float) -> None:
        self._phase = phase
        emit("phase", phase=phase, starts_mono_ms=starts_s * 1e3)

    def _tell_seconds(self) -> None:
        for second in self._collection.seconds():
            emit("second", **second)

    def _tell(self, start_s: float) -> None:
        self._tell_seconds()
        self._enter("done", monotonic())
        emit("result", **self._result(start_s))

    def _result(self, start_s: float) -> dict[str, Any]:
        settings, collection = self._settings, self._collection
        window, whole = collection.sum(["measure"]), collection.sum()
        begins_s = start_s + settings.warmup_s
        locust = self._environment.stats.total
        return {
            **window.as_record(),
            "lateness_hdr": encode(window.histograms["lateness"]),
            "connect_ms_hdr": encode(whole.histograms["connect"]),
            "window_mono_ms": [begins_s * 1e3, (begins_s + settings.measure_s) * 1e3],
            "whole": whole.as_record(),
            "connected_peak": self._connected_peak,
            "late_p99_us": quantile_us(window.histograms["lateness"], 0.99),
            "loop_lag_p99_us": quantile_us(window.histograms["loop_lag"], 0.99),
            "workers": [self._of_worker(index) for index in sorted(self._pids)],
            "errors": merged_faults(collection.done.values()),
            "locust": {"requests": locust.num_requests, "failures": locust.num_failures},
        }

    def _of_worker(self, index: int) -> dict[str, Any]:
        engines = [engine for engine in self._takers if _numbers(engine)[0] == index]
        done = [self._collection.done[engine] for engine in engines]
        lag = [quantile_us(self._collection.of_engine(e).histograms["loop_lag"], 0.99) or 0 for e in engines]
        return {
            "index": index,
            "pid": self._pids[index],
            "engine_pids": [record["pid"] for record in done],
            "cpu_user_us": sum(r["cpu_user_us"] + r.get("worker_cpu_user_us", 0) for r in done),
            "cpu_system_us": sum(r["cpu_system_us"] + r.get("worker_cpu_system_us", 0) for r in done),
            "loop_lag_p99_us": max(lag, default=0),
            **{key: sum(r[key] for r in done) for key in ("connected", "sent", "answered", "failed")},
        }

    def _tell_progress(self) -> None:
        answered, at_s = 0, monotonic()
        while True:
            gevent.sleep(PROGRESS_S)
            now, now_s = self._sum("answered"), monotonic()
            latest = self._collection.latest(len(self._takers))
            response = latest.histograms["response"] if latest else {}
            emit(
                "progress",
                phase=self._phase,
                **{
                    key: self._sum(key)
                    for key in ("users", "connected", "sent", "answered", "failed", "in_flight")
                },
                requests_per_s=round((now - answered) / (now_s - at_s), 1),
                response_p50_ms=_ms(quantile_us(response, 0.50)),
                response_p99_ms=_ms(quantile_us(response, 0.99)),
            )
            answered, at_s = now, now_s

    # -- what the workers say

    def _on_hello(self, msg: Any, **_: Any) -> None:
        index = msg.data["worker_index"]
        self._pids[index] = msg.data["pid"]
        for engine in range(msg.data["engines"]):
            self._heard_s[f"{index}:{engine}"] = monotonic()

    def _on_record(self, msg: Any, **_: Any) -> None:
        engine, record = f"{msg.data['worker_index']}:{msg.data['engine']}", msg.data["record"]
        self._heard_s[engine] = monotonic()
        if record["event"] in ("status", "done"):
            self._engines[engine] = record
            self._connected_peak = max(self._connected_peak, self._sum("connected"))
        self._collection.take(engine, record)

    def _on_failed(self, msg: Any, **_: Any) -> None:
        self._lost = self._lost or (msg.data["worker_index"], msg.data["says"])

    def _sum(self, key: str) -> int:
        return sum(status[key] for status in self._engines.values())

    # -- waiting

    def _wait(self, condition: Callable[[], bool], deadline_s: float, says: Callable[[], str]) -> None:
        ends_s = monotonic() + deadline_s
        while not condition():
            if monotonic() > ends_s:
                raise SwarmError(f"{says()} within {deadline_s:g} s")
            self._look()

    def _look(self) -> None:
        """Let the others run, then see whether anybody is missing."""
        gevent.sleep(LOOK_S)
        now_s = monotonic()
        stalled = now_s - self._looked_s > 1.0  # it was this process that slept: their words are still unread
        self._looked_s = now_s
        if self.stopped.is_set():
            raise Stopped
        if not stalled and self._lost is None:
            self._find_silent(now_s)
        if self._lost is not None:
            raise WorkerLostError(f"worker {self._lost[0]} is lost: {self._lost[1]}")

    def _find_silent(self, now_s: float) -> None:
        for engine, heard_s in self._heard_s.items():
            if now_s - heard_s > SILENCE_S:
                self._lost = (_numbers(engine)[0], f"no word from its engine {engine} for {SILENCE_S:g} s")


def _numbers(engine: str) -> tuple[int, ...]:
    return tuple(int(part) for part in engine.split(":"))


def _ms(us: int | None) -> float | None:
    return None if us is None else us / 1e3
