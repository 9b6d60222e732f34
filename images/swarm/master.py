"""The swarm's master: a Locust master that sets the load clock and merges the records of the engines.

It ramps users with Locust's dispatch, waits until they are connected or their deadline has passed, sets the
time at which the load starts, and prints the events of the node contract. A worker that dies or falls
silent voids the load: the master names it and ends; its users are never moved to other workers.
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
from .events import emit, log
from .merge import EngineRecords
from .settings import Settings
from .users import make_environment, silence_spawn_rate_warning

WORKERS_TIMEOUT_S = 60.0  # for all workers to connect
SIGNAL_TIMEOUT_S = 600.0  # for SIGUSR1, and for SIGUSR2 with a barrier
SPAWN_SLACK_S = 30.0  # for Locust's dispatch, beside twice the ramp
ENGINE_TIMEOUT_S = 4.0  # an engine reports its status ten times a second
STALL_S = 1.0  # the master itself has not run for so long
START_DELAY_S = 0.5  # until the load clock starts: the message must reach all engines before
RECORDS_SLACK_S = 10.0  # for the last records, beside the drain
POLL_S = 0.02
PROGRESS_S = 1.0
CLOSE_LINGER_MS = 500


class Terminated(Exception):
    """SIGTERM was received."""


class WorkerLostError(SwarmError):
    """A worker died or fell silent."""


def main(settings: Settings) -> int:
    """Run one load; return the exit code."""
    silence_spawn_rate_warning()
    master = Master(settings)
    gevent.signal_handler(signal.SIGTERM, master.terminated.set)
    gevent.signal_handler(signal.SIGUSR1, master.start_signal.set)
    gevent.signal_handler(signal.SIGUSR2, master.barrier_signal.set)
    try:
        master.run()
        master.terminated.wait(settings.linger_s)  # workers stay too: links and answers are probed again
    except Terminated:
        log("info", "stopped by SIGTERM")
    finally:
        master.close()
    return 0


class Master:
    """Runs one load, from the first worker's hello to the result."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.start_signal, self.barrier_signal, self.terminated = Event(), Event(), Event()
        self._statuses, self._records = result.Statuses(), EngineRecords()
        self._last_heard_s: dict[str, float] = {}  # by engine
        self._pids: dict[int, int] = {}  # by worker
        self._lost: tuple[int, str] | None = None
        self._sharing: list[str] = []  # engines with a share of the load
        self._phase = "ready"
        self._spawned = Event()
        self._checked_s = monotonic()
        self._environment = make_environment(Environment, events, settings)
        self._environment.events.spawning_complete.add_listener(lambda **_: self._spawned.set())
        self._runner = self._environment.create_master_runner("*", settings.master.port)
        self._runner.register_message("swarm_hello", self._on_hello)
        self._runner.register_message("swarm_record", self._on_record)
        self._runner.register_message("swarm_failed", self._on_failed)
        if settings.ui is not None:
            from .ui import serve

            serve(self._environment, settings.ui)

    # -- phases

    def run(self) -> None:
        """Wait for the workers and for SIGUSR1; then ramp, load, drain, and print the result."""
        self._wait_for(lambda: len(self._pids) == self._settings.workers, WORKERS_TIMEOUT_S, self._missing)
        emit("ready", role="master", pid=os.getpid())
        self._wait_for(self.start_signal.is_set, SIGNAL_TIMEOUT_S, lambda: "no SIGUSR1 (start)")
        progress = gevent.spawn(self._emit_progress)
        try:
            self._spawn()
            start_s = self._start()
            self._run_phases(start_s)
        except WorkerLostError:
            self._emit_seconds()
            assert self._lost is not None
            emit("worker_lost", worker_index=self._lost[0], says=self._lost[1])
            raise
        finally:
            progress.kill()
        self._emit_result(start_s)

    def close(self) -> None:
        """Tell the workers to end, then close the socket to them."""
        self._runner.send_message("swarm_end")
        self._runner.greenlet.kill(block=True, timeout=1.0)
        context = self._runner.server.socket.context
        self._runner.server.close(linger=CLOSE_LINGER_MS)
        context.term()  # returns when the message is sent, or after CLOSE_LINGER_MS

    def _missing(self) -> str:
        missing = sorted(set(range(self._settings.workers)) - set(self._pids))
        return f"workers {', '.join(map(str, missing))} did not connect"

    def _spawn(self) -> None:
        settings = self._settings

        def ready() -> int:
            return self._statuses.sum("ready")

        self._emit_phase("spawn", monotonic())
        gevent.spawn(self._runner.start, settings.users, settings.spawn_rate_per_s)
        ramp_s = settings.users / settings.spawn_rate_per_s
        self._wait_for(
            self._spawned.is_set, 2 * ramp_s + SPAWN_SLACK_S, lambda: "Locust did not finish spawning"
        )
        deadline_s = monotonic() + settings.connect_deadline_s
        while ready() < settings.users and monotonic() < deadline_s:
            self._poll()
        if ready() < settings.users:
            log(
                "warning",
                f"the load starts with {ready()} of {settings.users} users: the others have no connection",
            )
        if settings.barrier:
            self._emit_phase("held", monotonic())
            self._wait_for(self.barrier_signal.is_set, SIGNAL_TIMEOUT_S, lambda: "no SIGUSR2 (barrier)")

    def _start(self) -> float:
        start_s = monotonic() + START_DELAY_S
        if self._settings.barrier:  # swarms that get SIGUSR2 within one half second start together
            start_s = float(math.ceil(start_s))
        self._sharing = self._statuses.engines_with_users()
        self._records.engines = len(self._sharing)
        shares = {engine: (position, len(self._sharing)) for position, engine in enumerate(self._sharing)}
        self._runner.send_message("swarm_start", {"at_mono_s": start_s, "shares": shares})
        self._emit_phase("warmup", start_s)
        return start_s

    def _run_phases(self, start_s: float) -> None:
        settings = self._settings
        measure_s, drain_s = start_s + settings.warmup_s, start_s + settings.load_s
        measured_s = measure_s + settings.measure_s
        self._wait_until(measure_s)
        self._emit_phase("measure", measure_s)
        if settings.load.ramps_users:
            gevent.spawn(self._run_user_steps)
        if settings.cooldown_s:
            self._wait_until(measured_s)
            self._emit_phase("cooldown", measured_s)
        self._wait_until(drain_s)
        self._emit_phase("drain", drain_s)
        self._wait_for(lambda: not self._draining(), settings.drain_s + RECORDS_SLACK_S, self._drain_overrun)

    def _run_user_steps(self) -> None:
        ends_s = monotonic()
        for step in self._settings.load.user_steps(self._settings.users):
            ends_s += step.duration_s
            if step.rate_per_s:
                self._runner.start(step.users, step.rate_per_s)
            gevent.sleep(max(0.0, ends_s - monotonic()))

    def _draining(self) -> set[str]:
        return set(self._sharing) - set(self._records.done)

    def _drain_overrun(self) -> str:
        return f"the drain did not end in engines {', '.join(sorted(self._draining()))}"

    # -- events

    def _emit_phase(self, phase: str, starts_s: float) -> None:
        self._phase = phase
        emit("phase", phase=phase, starts_mono_ms=starts_s * 1e3)

    def _emit_seconds(self) -> None:
        self._records.finish()
        for second in self._records.seconds():
            emit("second", **second)

    def _emit_result(self, start_s: float) -> None:
        self._emit_seconds()
        self._emit_phase("done", monotonic())
        whole = result.build(
            self._settings,
            self._records,
            self._statuses,
            start_s=start_s,
            pids=self._pids,
            locust=self._environment.stats.total,
        )
        emit("result", **whole)

    def _emit_progress(self) -> None:
        answered, at_s = 0, monotonic()
        while True:
            gevent.sleep(PROGRESS_S)
            now, now_s = self._statuses.sum("answered"), monotonic()
            figures = self._statuses.progress(
                self._records.latest_response, (now - answered) / (now_s - at_s)
            )
            if self._settings.tell_window and self._phase in ("measure", "cooldown", "drain"):
                figures["window"] = self._records.window_so_far().as_record()
            emit("progress", phase=self._phase, **figures)
            answered, at_s = now, now_s

    # -- messages of the workers

    def _on_hello(self, msg: Any, **_: Any) -> None:
        index = msg.data["worker_index"]
        self._pids[index] = msg.data["pid"]
        for engine in range(msg.data["engines"]):
            self._last_heard_s[f"{index}:{engine}"] = monotonic()

    def _on_record(self, msg: Any, **_: Any) -> None:
        engine, record = f"{msg.data['worker_index']}:{msg.data['engine']}", msg.data["record"]
        self._last_heard_s[engine] = monotonic()
        if record["event"] in ("status", "done"):
            self._statuses.add(engine, record)
        self._records.add(engine, record)

    def _on_failed(self, msg: Any, **_: Any) -> None:
        self._lost = self._lost or (msg.data["worker_index"], msg.data["says"])

    # -- waiting

    def _wait_for(self, condition: Callable[[], bool], timeout_s: float, failure: Callable[[], str]) -> None:
        deadline_s = monotonic() + timeout_s
        while not condition():
            if monotonic() > deadline_s:
                raise SwarmError(f"{failure()} within {timeout_s:g} s")
            self._poll()

    def _wait_until(self, time_s: float) -> None:
        while monotonic() < time_s:
            self._poll()

    def _poll(self) -> None:
        """Let other greenlets run, then raise if a worker is lost or SIGTERM was received."""
        gevent.sleep(POLL_S)
        now_s, slept_s = monotonic(), monotonic() - self._checked_s
        self._checked_s = now_s
        if slept_s > STALL_S:  # the master was stalled: the engines' messages are still unread
            log("warning", f"the master was stalled for {slept_s:.1f} s")
            self._last_heard_s = dict.fromkeys(self._last_heard_s, now_s)
        if self.terminated.is_set():
            raise Terminated
        if self._lost is None:
            self._check_engines(now_s)
        if self._lost is not None:
            raise WorkerLostError(f"worker {self._lost[0]} is lost: {self._lost[1]}")

    def _check_engines(self, now_s: float) -> None:
        for engine, heard_s in self._last_heard_s.items():
            if now_s - heard_s > ENGINE_TIMEOUT_S:
                message = f"no status from its engine {engine} for {ENGINE_TIMEOUT_S:g} s"
                self._lost = (result.engine_key(engine)[0], message)
