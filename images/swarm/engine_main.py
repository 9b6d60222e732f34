"""The engine's process: commands as JSON lines on standard input, records on standard output.

| command | |
|---|---|
| `{"do": "users", "target": n}` | keep n connections open |
| `{"do": "start", "at_mono_s": t, "position": i, "of": n}` | start the load clock at t, run share i of n |

| record | |
|---|---|
| `hello` | the engine has started: `pid` |
| `status` | ten times a second: totals so far, open connections |
| `second` | a second that is over; sent again if a late answer changed it, and then replaces the former |
| `done` | the drain has ended: errors, resource use; the last record |

The end of standard input ends the process: an engine does not outlive its worker.
"""

from __future__ import annotations

import gc
import math
import os
import resource
import signal
from time import monotonic, process_time
from typing import Any

from kernel.scheduling import set_short_slice

from .channel import Channel
from .clients import Clients
from .connection import Dialler
from .engine import Engine
from .errors import SwarmError
from .exchange import Exchange, for_wire
from .exchange.page import Page
from .executors import Start
from .seconds import Second
from .settings import Settings
from .slow_clients import SlowClients

STATUS_EVERY_S = 0.1
# Engines share CPUs and a clock. Their reports are spread over this time after the end of a second, so that
# not all of them delay requests at once.
REPORT_SPREAD_S = 0.8
# Closing all connections is a burst for link and server; by then nothing is measured any more.
CLOSE_AFTER_S, CLOSE_MANY_AFTER_S, MANY_CONNECTIONS = 0.3, 1.0, 1000
BURST_SHARE = 0.8  # Locust spawns users once a second; their connects are spread over this share of it


def raise_nofile_limit() -> int:
    """Raise the soft limit of open files to the hard limit and return it (getrlimit(2), RLIMIT_NOFILE)."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def main(settings: Settings, index: int) -> int:
    """Run engine `index` of this worker until its parent closes standard input."""
    raise_nofile_limit()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C signals the whole process group; the parent decides
    gc.disable()  # no code here makes cycles; scanning 100,000 connections would stop the loop for 50 ms
    # A single engine keeps its slice: it would only preempt the delay line of its links.
    if settings.workers * settings.engines > 1:
        set_short_slice()
    return EngineMain(settings, index, Channel(0, 1)).run()


def make_exchange(settings: Settings) -> Exchange:
    """Return what one request of this load is: a page, or one exchange on its wire."""
    if settings.page is not None:
        paths, at_once = settings.page.paths, settings.page.at_once
        return Page(settings.handler, settings.target.host, paths, at_once=at_once)
    return for_wire(
        settings.wire, settings.handler, settings.target.host, connection_per_request=settings.clients.churn
    )


def engine_idle_share(clients: Clients) -> float:
    """Return the share of idle clients among those that are not slow: the engine's pool has no slow ones."""
    return clients.idle_share / (1.0 - clients.slow_share) if clients.idle_share else 0.0


class EngineMain:
    """Feeds commands to one engine and reports its records."""

    def __init__(self, settings: Settings, index: int, channel: Channel) -> None:
        self._settings, self._channel = settings, channel
        self._index = settings.worker_index * settings.engines + index  # among all engines of the swarm
        exchange, clients, target = make_exchange(settings), settings.clients, settings.target
        engines = settings.workers * settings.engines
        spawn_rate_per_s = settings.load.peak_spawn_rate_per_s(settings.users, settings.spawn_rate_per_s)
        dialler = Dialler(target.host, target.port, exchange.transport, settings.source_addresses)
        self._engine = Engine(
            exchange,
            dialler,
            spawn_rate_per_s=spawn_rate_per_s / engines / BURST_SHARE,
            connect_deadline_s=settings.connect_deadline_s,
            request_timeout_s=settings.request_timeout_s,
            idle_share=engine_idle_share(clients),
        )
        self._slow = SlowClients(
            exchange, dialler, side=clients.slow_side, bytes_per_s=clients.slow_bytes_per_s
        )
        self._engine.on_tick = self._tick
        self._engine.poller.register(channel.read_fd, self._read_commands)
        self._ends_s = math.inf
        self._next_status_s = 0.0
        self._report_after_s = REPORT_SPREAD_S * self._index / engines
        self._reports_s = math.inf
        self._second: Second = self._engine.seconds.at(monotonic())
        self._cpu_s = 0.0
        self._done = False
        self._closes_s = math.inf

    def run(self) -> int:
        """Run the loop until the parent closes standard input."""
        self._channel.send({"event": "hello", "pid": os.getpid()})
        while not self._channel.ended:
            self._engine.run_once()
        return 0

    def _read_commands(self) -> None:
        for command in self._channel.receive():
            match command:
                case {"do": "users", "target": int(target)}:
                    slow = int(target * self._settings.clients.slow_share)
                    self._engine.pool.users = target - slow
                    self._slow.set_count(slow)
                case {"do": "start", "at_mono_s": float(at_s), "position": int(position), "of": int(of)}:
                    self._start(at_s, position, of)
                case _:
                    raise SwarmError(f"unknown command {command!r}")

    def _start(self, at_s: float, position: int, of: int) -> None:
        settings, engine = self._settings, self._engine
        engine.seconds.start(at_s, settings.warmup_s, settings.measure_s, settings.cooldown_s)
        self._ends_s = at_s + settings.load_s
        start = Start(
            send=engine.send,
            seconds=engine.seconds,
            start_s=at_s,
            warmup_s=settings.warmup_s,
            end_s=self._ends_s,
            seed=settings.seed,
            engine=self._index,
            position=position,
            of=of,
        )
        engine.start_load(settings.load.run(start))

    def _tick(self, now_s: float) -> None:
        self._channel.flush()
        self._slow.tick(now_s)
        second = self._engine.seconds.at(now_s)
        second.connected += len(self._slow)
        if second is not self._second:
            self._next_second(second, now_s)
        if now_s >= self._reports_s:
            self._reports_s = math.inf
            self._report(self._engine.load.counted_until_s(now_s))
        if now_s >= self._next_status_s:
            self._next_status_s = now_s + STATUS_EVERY_S
            self._channel.send({"event": "status"} | self._status())
        if now_s >= self._closes_s:
            self._close()
        if not self._done and now_s >= self._ends_s:
            self._drain(now_s)

    def _next_second(self, second: Second, now_s: float) -> None:
        cpu_s = process_time()
        self._second.cpu_s = cpu_s - self._cpu_s
        self._second, self._cpu_s = second, cpu_s
        self._reports_s = now_s + self._report_after_s

    def _drain(self, now_s: float) -> None:
        if now_s >= self._ends_s + self._settings.drain_s:
            self._engine.end_drain()
        if self._engine.is_drained():
            self._done = True
            self._slow.pause()
            self._engine.end_load()
            self._report(math.inf)
            many = self._engine.pool.open > MANY_CONNECTIONS
            self._closes_s = now_s + (CLOSE_MANY_AFTER_S if many else CLOSE_AFTER_S)
            self._channel.send({"event": "done"} | self._status() | self._totals())

    def _close(self) -> None:
        self._closes_s = math.inf
        self._engine.pool.close_all()
        self._slow.set_count(0)

    def _report(self, until_s: float) -> None:
        for second in self._engine.seconds.changed(until_s):
            self._channel.send({"event": "second"} | second.as_record())

    def _status(self) -> dict[str, Any]:
        pool, totals = self._engine.pool, self._engine.seconds.totals()
        return totals | {
            "users": pool.users + len(self._slow),
            "ready": pool.ready() + len(self._slow),
            "connected": pool.open + len(self._slow),
            "connected_peak": pool.open_peak,
            "in_flight": len(self._engine.in_flight),
            "slow_answered": self._slow.answered,
            "slow_ended": self._slow.ended,
        }

    def _totals(self) -> dict[str, Any]:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "pid": os.getpid(),
            "cpu_user_us": round(usage.ru_utime * 1e6),
            "cpu_system_us": round(usage.ru_stime * 1e6),
            "faults": self._engine.faults.as_record(),
            "in_flight_parts_s": self._engine.area.parts_s,
        }
