"""The swarm's master: a Locust master that agrees on one load clock and merges what the engines tell.

It ramps users by Locust's own dispatch, waits until they are connected (or their deadline has passed),
fixes the moment at which the load begins, and prints the events of the node contract. A worker that dies or
falls silent makes the load void: it is named and everything ends; its users are never handed to others.
"""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable
from time import monotonic
from typing import Any

import gevent
from gevent.event import Event

from locust.env import Environment  # isort: skip  (patches the process: before all that opens sockets)
from locust import events

from . import result
from .errors import SwarmError
from .events import emit, say
from .merge import Collection
from .settings import Settings
from .users import environment, quiet_spawn_warning

WORKERS_S = 60.0  # for all workers to come
GO_S = 600.0  # for SIGUSR1, and for SIGUSR2 where there is a barrier
SPAWN_SLACK_S = 30.0  # on top of twice the ramp, for Locust's dispatch
SILENCE_S = 4.0  # of an engine that should tell its status ten times a second
STALL_S = 1.0  # of the master itself
HEADWAY_S = 0.5  # from the decision to the start of the load clock: the message has to be there before
MERGE_S = 10.0  # on top of the drain, for the last records to arrive
LOOK_S = 0.02
PROGRESS_S = 1.0
FAREWELL_MS = 500


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
    gevent.signal_handler(signal.SIGUSR2, master.begin.set)
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
        self.go, self.begin, self.stopped = Event(), Event(), Event()
        self._statuses, self._collection = result.Statuses(), Collection()
        self._heard_s: dict[str, float] = {}  # by engine
        self._pids: dict[int, int] = {}  # by worker
        self._lost: tuple[int, str] | None = None
        self._takers: list[str] = []
        self._phase = "ready"
        self._spawned = Event()
        self._looked_s = monotonic()
        self._environment = environment(Environment, events, settings)
        self._environment.events.spawning_complete.add_listener(lambda **_: self._spawned.set())
        self._runner = self._environment.create_master_runner("*", settings.master.port)
        self._runner.register_message("swarm_hello", self._on_hello)
        self._runner.register_message("swarm_record", self._on_record)
        self._runner.register_message("swarm_failed", self._on_failed)
        if settings.ui is not None:
            from .ui import serve

            serve(self._environment, settings.ui)

    # -- the story

    def run(self) -> None:
        """Wait for the workers, for SIGUSR1, ramp, load, drain, tell."""
        self._wait(lambda: len(self._pids) == self._settings.workers, WORKERS_S, self._missing)
        emit("ready", role="master", pid=os.getpid())
        self._wait(self.go.is_set, GO_S, lambda: "nobody said go (SIGUSR1)")
        progress = gevent.spawn(self._tell_progress)
        try:
            self._spawn()
            start_s = self._start()
            self._follow(start_s)
        except WorkerLostError:
            self._tell_seconds()
            assert self._lost is not None
            emit("worker_lost", worker_index=self._lost[0], says=self._lost[1])
            raise
        finally:
            progress.kill()
        self._tell(start_s)

    def close(self) -> None:
        """Send the workers home."""
        self._runner.send_message("swarm_end")
        self._runner.greenlet.kill(block=True, timeout=1.0)
        context = self._runner.server.socket.context
        self._runner.server.close(linger=FAREWELL_MS)
        context.term()  # returns when the farewell has left, or its time is over

    def _missing(self) -> str:
        missing = sorted(set(range(self._settings.workers)) - set(self._pids))
        return f"workers that did not come: {', '.join(map(str, missing))}"

    def _spawn(self) -> None:
        settings = self._settings

        def ready() -> int:
            return self._statuses.sum("ready")

        self._enter("spawn", monotonic())
        gevent.spawn(self._runner.start, settings.users, settings.spawn_rate_per_s)
        ramp_s = settings.users / settings.spawn_rate_per_s
        self._wait(self._spawned.is_set, 2 * ramp_s + SPAWN_SLACK_S, lambda: "Locust did not finish spawning")
        asked_s = monotonic()
        while ready() < settings.users and monotonic() < asked_s + settings.connect_deadline_s:
            self._look()
        if ready() < settings.users:
            say("warning", f"{ready()} of {settings.users} users are connected; going on with these")
        if settings.barrier:
            self._enter("held", monotonic())
            self._wait(self.begin.is_set, GO_S, lambda: "nobody said begin (SIGUSR2)")

    def _start(self) -> float:
        start_s = monotonic() + HEADWAY_S
        if self._settings.barrier:  # all swarms that were told within one half second begin as one
            start_s = float(math.ceil(start_s))
        self._takers = self._statuses.takers()
        self._collection.engines = len(self._takers)
        shares = {engine: (position, len(self._takers)) for position, engine in enumerate(self._takers)}
        self._runner.send_message("swarm_start", {"at_mono_s": start_s, "shares": shares})
        self._enter("warmup", start_s)
        return start_s

    def _follow(self, start_s: float) -> None:
        settings = self._settings
        measure_s, drain_s = start_s + settings.warmup_s, start_s + settings.load_s
        self._until(measure_s)
        self._enter("measure", measure_s)
        if settings.load.ramps_users:
            gevent.spawn(self._follow_steps)
        self._until(drain_s)
        self._enter("drain", drain_s)
        self._wait(lambda: not self._undone(), settings.drain_s + MERGE_S, self._not_done)

    def _follow_steps(self) -> None:
        ends_s = monotonic()
        for step in self._settings.load.user_steps(self._settings.users):
            ends_s += step.duration_s
            if step.rate_per_s:
                self._runner.start(step.users, step.rate_per_s)
            gevent.sleep(max(0.0, ends_s - monotonic()))

    def _undone(self) -> set[str]:
        return set(self._takers) - set(self._collection.done)

    def _not_done(self) -> str:
        return f"the drain did not end in engines {', '.join(sorted(self._undone()))}"

    # -- what is told

    def _enter(self, phase: str, starts_s: float) -> None:
        self._phase = phase
        emit("phase", phase=phase, starts_mono_ms=starts_s * 1e3)

    def _tell_seconds(self) -> None:
        self._collection.close()
        for second in self._collection.seconds():
            emit("second", **second)

    def _tell(self, start_s: float) -> None:
        self._tell_seconds()
        self._enter("done", monotonic())
        whole = result.build(
            self._settings,
            self._collection,
            self._statuses,
            start_s=start_s,
            pids=self._pids,
            locust=self._environment.stats.total,
        )
        emit("result", **whole)

    def _tell_progress(self) -> None:
        answered, at_s = 0, monotonic()
        while True:
            gevent.sleep(PROGRESS_S)
            now, now_s = self._statuses.sum("answered"), monotonic()
            figures = self._statuses.progress(
                self._collection.latest_response, (now - answered) / (now_s - at_s)
            )
            if self._settings.tell_window and self._phase in ("measure", "drain"):
                figures["window"] = self._collection.window_so_far().as_record()
            emit("progress", phase=self._phase, **figures)
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
            self._statuses.take(engine, record)
        self._collection.take(engine, record)

    def _on_failed(self, msg: Any, **_: Any) -> None:
        self._lost = self._lost or (msg.data["worker_index"], msg.data["says"])

    # -- waiting

    def _wait(self, condition: Callable[[], bool], deadline_s: float, says: Callable[[], str]) -> None:
        ends_s = monotonic() + deadline_s
        while not condition():
            if monotonic() > ends_s:
                raise SwarmError(f"{says()} within {deadline_s:g} s")
            self._look()

    def _until(self, moment_s: float) -> None:
        while monotonic() < moment_s:
            self._look()

    def _look(self) -> None:
        """Let the others run, then see whether anybody is missing."""
        gevent.sleep(LOOK_S)
        now_s, slept_s = monotonic(), monotonic() - self._looked_s
        self._looked_s = now_s
        if slept_s > STALL_S:  # it was we who did not listen: their words are still unread
            say("warning", f"the master could not listen for {slept_s:.1f} s")
            self._heard_s = dict.fromkeys(self._heard_s, now_s)
        if self.stopped.is_set():
            raise Stopped
        if self._lost is None:
            self._find_silent(now_s)
        if self._lost is not None:
            raise WorkerLostError(f"worker {self._lost[0]} is lost: {self._lost[1]}")

    def _find_silent(self, now_s: float) -> None:
        for engine, heard_s in self._heard_s.items():
            if now_s - heard_s > SILENCE_S:
                says = f"no word from its engine {engine} for {SILENCE_S:g} s"
                self._lost = (result.numbers(engine)[0], says)
