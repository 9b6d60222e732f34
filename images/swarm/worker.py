"""A swarm worker: a Locust worker whose users are connections of its engine processes.

It passes Locust's user count to the engines and their records to the master, and adds the outcomes to
Locust's statistics. It ends when the master says so, on SIGTERM, or when it loses an engine or the master.
"""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Sequence
from time import monotonic
from typing import Any

import gevent
from gevent.event import AsyncResult

from locust.env import Environment  # isort: skip  (patches the process: before all that opens sockets)
from kernel import scheduling
from locust import events, runners
from locust.runners import WorkerRunner
from locust.stats import RequestStats

from . import ports
from .engine_main import raise_nofile_limit
from .engine_process import EngineProcess, split
from .errors import SwarmError
from .events import emit
from .locust_stats import LocustStats
from .locustfile_users import LocustfileEngine
from .settings import Settings
from .users import ConnectionRunner, make_environment

ENGINES_TIMEOUT_S = 20.0  # for the engines to start
MASTER_TIMEOUT_S = 6.0  # it answers a worker's heartbeat once a second
CONNECT_TIMEOUT_S = 60.0  # to the master
POLL_S = 0.02
JOIN_TIMEOUT_S = 1.0
NICE = 10  # nice(2) of the worker: passing messages can wait, its engines cannot


def main(settings: Settings) -> int:
    """Run until the master ends the load; return the exit code."""
    raise_nofile_limit()
    ports.check(settings)
    # Locust itself tries to reach its master for five minutes.
    runners.CONNECT_RETRY_COUNT = round(CONNECT_TIMEOUT_S / runners.CONNECT_TIMEOUT)
    worker = Worker(settings)
    gevent.signal_handler(signal.SIGTERM, worker.stop)
    try:
        return worker.run()
    finally:
        worker.close()


class Worker:
    """One worker node."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.ended: AsyncResult = AsyncResult()  # None, or the error that ended the worker
        self._started: set[int] = set()
        self._master_heard_s = monotonic()
        self._environment = make_environment(Environment, events, settings)
        # As in Locust's own workers: only the master's page needs the cache.
        self._environment.stats = RequestStats(use_response_times_cache=False)
        self._engines = self._make_engines()
        self._environment.events.heartbeat_received.add_listener(self._on_heartbeat)
        self._runner: WorkerRunner | None = None
        self._locust_stats: LocustStats | None = None

    def run(self) -> int:
        """Connect to the master, then pass messages until the end."""
        self._await_engines()
        self._runner = runner = self._connect()
        self._environment.runner = runner
        if not self._settings.locustfile:  # Locust itself counts the requests of a locustfile's users
            self._locust_stats = LocustStats(
                self._environment.stats, self._settings.wire, self._settings.handler
            )
        runner.register_message("swarm_start", self._on_start)
        runner.register_message("swarm_end", lambda **_: self.ended.set(None))
        self._send("swarm_hello", pid=os.getpid(), engines=len(self._engines))
        emit("ready", role="worker", worker_index=self._settings.worker_index, pid=os.getpid())
        while not self.ended.ready():
            self._set_users(len(runner.user_greenlets))
            self._check_master()
            self.ended.wait(POLL_S)
        self.ended.get()
        return 0

    def _make_engines(self) -> Sequence[EngineProcess | LocustfileEngine]:
        if self._settings.locustfile:
            return [LocustfileEngine(self._settings, self._environment, self._on_record)]
        engines = [
            EngineProcess(index, on_record=self._on_record, on_end=self._on_engine_end)
            for index in range(self._settings.engines)
        ]
        os.nice(NICE)
        return engines

    def _connect(self) -> WorkerRunner:
        """Return a runner connected to its master; a greenlet connects, so that SIGTERM ends the worker."""
        master = self._settings.master
        kind = WorkerRunner if self._settings.locustfile else ConnectionRunner
        connecting = gevent.spawn(kind, self._environment, master.host, master.port)
        while not connecting.ready():
            if self.ended.ready():
                self.ended.get()
                raise SystemExit(0)
            gevent.sleep(POLL_S)
        if isinstance(connecting.exception, ConnectionError):
            raise SwarmError(f"no master at {master.host}:{master.port} within {CONNECT_TIMEOUT_S:g} s")
        runner: WorkerRunner = connecting.get()
        return runner

    def stop(self) -> None:
        """End on SIGTERM; tell the master, so that it need not wait for its timeout."""
        if self._runner is not None and not self.ended.ready():
            self._send("swarm_failed", says="stopped by SIGTERM")
            gevent.sleep(POLL_S)  # until the message is sent
        self.ended.set(None)

    def close(self) -> None:
        """End the engines."""
        for engine in self._engines:
            engine.stop()
        until_s = monotonic() + JOIN_TIMEOUT_S
        for engine in self._engines:
            engine.join(until_s)

    def _await_engines(self) -> None:
        deadline_s = monotonic() + ENGINES_TIMEOUT_S
        while len(self._started) < len(self._engines):
            if self.ended.wait(POLL_S) is None and self.ended.ready():
                self.ended.get()
            if monotonic() > deadline_s:
                missing = len(self._engines) - len(self._started)
                raise SwarmError(f"{missing} engines did not start within {ENGINES_TIMEOUT_S:g} s")

    def _set_users(self, users: int) -> None:
        for engine, share in zip(self._engines, split(users, len(self._engines)), strict=True):
            engine.set_users(share)

    def _check_master(self) -> None:
        if monotonic() - self._master_heard_s > MASTER_TIMEOUT_S:
            raise SwarmError(f"no heartbeat from the master for {MASTER_TIMEOUT_S:g} s")

    def _on_heartbeat(self, **_: Any) -> None:
        self._master_heard_s = monotonic()

    def _on_start(self, msg: Any, **_: Any) -> None:
        for engine in self._engines:
            share = msg.data["shares"].get(f"{self._settings.worker_index}:{engine.index}")
            if share is not None:
                position, of = share
                engine.send(
                    {"do": "start", "at_mono_s": msg.data["at_mono_s"], "position": position, "of": of}
                )

    def _on_record(self, engine: int, record: dict[str, Any]) -> None:
        if record["event"] == "hello":
            self._schedule(engine, record["pid"])
            self._started.add(engine)
            return
        if self._runner is None:
            return  # a status before the worker is connected
        if record["event"] == "second" and self._locust_stats is not None:
            self._locust_stats.add(engine, record)
        if record["event"] == "done":
            self._runner._send_stats()  # before `done`, so that the master has Locust's counts by then
            if engine == 0 and self._locust_stats is not None:
                record |= self._own_cpu()
        self._send("swarm_record", engine=engine, record=record)

    def _schedule(self, engine: int, pid: int) -> None:
        """Put an engine that has started into the real-time class, where that is asked for and permitted."""
        asked, index = self._settings.real_time, self._settings.worker_index * self._settings.engines + engine
        if self._settings.locustfile:
            why_not: str | None = "users of a locustfile run in the worker's own process"
            scheduled = {"task": "users", "asked": False}
        else:
            why_not = scheduling.make_real_time(pid) if asked else scheduling.NOT_ASKED
            scheduled = {"task": f"engine {index}", "asked": asked}
        emit("scheduled", **scheduled, pid=pid, policy=scheduling.policy(pid), why_not=why_not)

    def _on_engine_end(self, engine: int, message: str) -> None:
        if self._runner is not None:
            self._send("swarm_failed", engine=engine, says=message)
        self.ended.set_exception(SwarmError(message))

    def _own_cpu(self) -> dict[str, int]:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "worker_cpu_user_us": round(usage.ru_utime * 1e6),
            "worker_cpu_system_us": round(usage.ru_stime * 1e6),
        }

    def _send(self, kind: str, **data: Any) -> None:
        assert self._runner is not None
        self._runner.send_message(kind, {"worker_index": self._settings.worker_index, **data})
