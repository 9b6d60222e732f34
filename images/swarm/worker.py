"""A swarm worker: a Locust worker whose users are connections of its engine processes.

It passes Locust's user count down to the engines, their records up to the master, and books the outcomes in
Locust's statistics. It ends when the master says so, when it is told to by a signal, or when it loses an
engine or the master.
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
from locust import events, runners
from locust.runners import WorkerRunner
from locust.stats import RequestStats

from . import ports
from .accounting import Books
from .child import raise_open_files
from .children import EngineProcess, split
from .errors import SwarmError
from .events import emit
from .settings import Settings
from .stock import Observer
from .users import ConnectionRunner, environment

HELLO_S = 20.0  # for the engines to start
MASTER_SILENCE_S = 6.0  # it answers our heartbeat once a second
MASTER_S = 60.0  # for the master to come
LOOK_S = 0.02
CLOSE_S = 1.0
GIVE_WAY = 10  # nice(2): what we pass on can wait, what our engines send and read cannot


def main(settings: Settings) -> int:
    """Run until the master ends the load; return the exit code."""
    raise_open_files()
    ports.plan(settings)
    # Locust's own patience with a missing master is five minutes.
    runners.CONNECT_RETRY_COUNT = round(MASTER_S / runners.CONNECT_TIMEOUT)
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
        self.ended: AsyncResult = AsyncResult()  # None: as asked; an exception: why not
        self._hello: set[int] = set()
        self._heard_s = monotonic()
        self._environment = environment(Environment, events, settings)
        # As Locust's own workers have it: the cache serves the master's page.
        self._environment.stats = RequestStats(use_response_times_cache=False)
        self._engines = self._make_engines()
        self._environment.events.heartbeat_received.add_listener(self._on_heartbeat)
        self._runner: WorkerRunner | None = None
        self._books: Books | None = None

    def run(self) -> int:
        """Connect to the master, then pass messages until the end."""
        self._await_engines()
        self._runner = runner = self._connect()
        self._environment.runner = runner
        if not self._settings.locustfile:  # such users are booked by Locust itself
            self._books = Books(self._environment.stats, self._settings.wire, self._settings.handler)
        runner.register_message("swarm_start", self._on_start)
        runner.register_message("swarm_end", lambda **_: self.ended.set(None))
        self._send("swarm_hello", pid=os.getpid(), engines=len(self._engines))
        emit("ready", role="worker", worker_index=self._settings.worker_index, pid=os.getpid())
        while not self.ended.ready():
            self._hold(len(runner.user_greenlets))
            self._check_master()
            self.ended.wait(LOOK_S)
        self.ended.get()
        return 0

    def _make_engines(self) -> Sequence[EngineProcess | Observer]:
        if self._settings.locustfile:
            return [Observer(self._settings, self._environment, self._on_record)]
        engines = [
            EngineProcess(index, on_record=self._on_record, on_end=self._on_engine_end)
            for index in range(self._settings.engines)
        ]
        os.nice(GIVE_WAY)
        return engines

    def _connect(self) -> WorkerRunner:
        """Return a runner that its master knows; made in the background, so that a signal still ends us."""
        master = self._settings.master
        kind = WorkerRunner if self._settings.locustfile else ConnectionRunner
        made = gevent.spawn(kind, self._environment, master.host, master.port)
        while not made.ready():
            if self.ended.ready():
                self.ended.get()
                raise SystemExit(0)
            gevent.sleep(LOOK_S)
        if isinstance(made.exception, ConnectionError):
            raise SwarmError(f"no master at {master.host}:{master.port} within {MASTER_S:g} s")
        runner: WorkerRunner = made.get()
        return runner

    def stop(self) -> None:
        """End because a signal says so; the master is told, so that it need not wait for our silence."""
        if self._runner is not None and not self.ended.ready():
            self._send("swarm_failed", says="told to stop by SIGTERM")
            gevent.sleep(LOOK_S)  # for the message to leave
        self.ended.set(None)

    def close(self) -> None:
        """Let the engines go."""
        for engine in self._engines:
            engine.let_go()
        until_s = monotonic() + CLOSE_S
        for engine in self._engines:
            engine.close(until_s)

    def _await_engines(self) -> None:
        deadline_s = monotonic() + HELLO_S
        while len(self._hello) < len(self._engines):
            if self.ended.wait(LOOK_S) is None and self.ended.ready():
                self.ended.get()
            if monotonic() > deadline_s:
                raise SwarmError(
                    f"{len(self._engines) - len(self._hello)} engines did not start in {HELLO_S:g} s"
                )

    def _hold(self, users: int) -> None:
        for engine, share in zip(self._engines, split(users, len(self._engines)), strict=True):
            engine.hold(share)

    def _check_master(self) -> None:
        if monotonic() - self._heard_s > MASTER_SILENCE_S:
            raise SwarmError(f"no word from the master for {MASTER_SILENCE_S:g} s")

    def _on_heartbeat(self, **_: Any) -> None:
        self._heard_s = monotonic()

    def _on_start(self, msg: Any, **_: Any) -> None:
        for engine in self._engines:
            share = msg.data["shares"].get(f"{self._settings.worker_index}:{engine.index}")
            if share is not None:
                position, of = share
                engine.tell(
                    {"do": "start", "at_mono_s": msg.data["at_mono_s"], "position": position, "of": of}
                )

    def _on_record(self, engine: int, record: dict[str, Any]) -> None:
        if record["event"] == "hello":
            self._hello.add(engine)
            return
        if self._runner is None:
            return  # a status before the master knows of us
        if record["event"] == "second" and self._books is not None:
            self._books.book(engine, record)
        if record["event"] == "done":
            self._runner._send_stats()  # ahead of `done`: what Locust counted is with the master by then
            if engine == 0 and self._books is not None:
                record |= self._own_cpu()
        self._send("swarm_record", engine=engine, record=record)

    def _on_engine_end(self, engine: int, says: str) -> None:
        if self._runner is not None:
            self._send("swarm_failed", engine=engine, says=says)
        self.ended.set_exception(SwarmError(says))

    def _own_cpu(self) -> dict[str, int]:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "worker_cpu_user_us": round(usage.ru_utime * 1e6),
            "worker_cpu_system_us": round(usage.ru_stime * 1e6),
        }

    def _send(self, kind: str, **data: Any) -> None:
        assert self._runner is not None
        self._runner.send_message(kind, {"worker_index": self._settings.worker_index, **data})
