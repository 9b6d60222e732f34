"""The engine as a process of its own: commands come as JSON lines on standard input, records go to standard
output.

| command | |
|---|---|
| `{"do": "users", "target": n}` | hold so many connections |
| `{"do": "start", "at_mono_s": t, "position": i, "of": n}` | the load clock starts at t, for sharer i of n |

| record | |
|---|---|
| `hello` | the engine runs: `pid` |
| `status` | ten times a second: totals so far and what is open |
| `second` | a second that is over; again if a late answer changed it: the later record replaces the former |
| `done` | the drain has ended: errors, resource use; the last one |

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
from .executors import Start
from .ledger import Second
from .page import Page
from .settings import Settings
from .slow import Burden

STATUS_EVERY_S = 0.1
REPORTS_WITHIN_S = 0.8  # engines share CPUs and a clock: told all at once, a second would hold everybody up
# Connections that end at once are a burst for link and server: nobody measures any more by then.
SHUT_AFTER_S, SHUT_MANY_AFTER_S, MANY = 0.3, 1.0, 1000
BURST_SHARE = 0.8  # a burst of users (Locust's come once a second) is spread over this share of its second


def raise_open_files() -> int:
    """Raise the soft limit of open files to the hard one and return it (getrlimit(2), RLIMIT_NOFILE)."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def main(settings: Settings, index: int) -> int:
    """Run engine `index` of this worker until its load is over and its parent lets go."""
    raise_open_files()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group; the parent decides
    gc.disable()  # nothing here makes cycles; collecting 100,000 connections would stop the loop for 50 ms
    if settings.workers * settings.engines > 1:  # alone, it would only get in the way of the links
        set_short_slice()
    return Child(settings, index, Channel(0, 1)).run()


def exchange_of(settings: Settings) -> Exchange:
    """Return what a request is in this load."""
    if settings.page is not None:
        paths, at_once = settings.page.paths, settings.page.at_once
        return Page(settings.handler, settings.target.host, paths, at_once=at_once)
    return for_wire(settings.wire, settings.handler, settings.target.host, once=settings.clients.churn)


def idle_share(clients: Clients) -> float:
    """Return the share of idle ones among those that are not slow: the engine's pool has no slow ones."""
    return clients.idle_share / (1.0 - clients.slow_share) if clients.idle_share else 0.0


class Child:
    """Commands in, records out, around one engine."""

    def __init__(self, settings: Settings, index: int, channel: Channel) -> None:
        self._settings, self._channel = settings, channel
        self._index = settings.worker_index * settings.engines + index  # among all engines of the swarm
        what, clients, target = exchange_of(settings), settings.clients, settings.target
        engines = settings.workers * settings.engines
        spawn_rate_per_s = settings.load.peak_spawn_rate_per_s(settings.users, settings.spawn_rate_per_s)
        dialler = Dialler(target.host, target.port, what.transport, settings.source_addresses)
        self._engine = Engine(
            what,
            dialler,
            spawn_rate_per_s=spawn_rate_per_s / engines / BURST_SHARE,
            connect_deadline_s=settings.connect_deadline_s,
            request_timeout_s=settings.request_timeout_s,
            idle_share=idle_share(clients),
        )
        self._slow = Burden(what, dialler, side=clients.slow_side, bytes_per_s=clients.slow_bytes_per_s)
        self._engine.on_tick = self._tick
        self._engine.waiter.watch(channel.read_fd, self._commands)
        self._ends_s = math.inf
        self._next_status_s = 0.0
        self._report_after_s = REPORTS_WITHIN_S * self._index / engines
        self._reports_s = math.inf
        self._second: Second = self._engine.ledger.at(monotonic())
        self._cpu_s = 0.0
        self._done = False
        self._shuts_s = math.inf

    def run(self) -> int:
        """Turn the loop until the parent lets go."""
        self._channel.send({"event": "hello", "pid": os.getpid()})
        while not self._channel.ended:
            self._engine.turn()
        return 0

    def _commands(self) -> None:
        for command in self._channel.receive():
            match command:
                case {"do": "users", "target": int(target)}:
                    slow = int(target * self._settings.clients.slow_share)
                    self._engine.pool.users = target - slow
                    self._slow.hold(slow)
                case {"do": "start", "at_mono_s": float(at_s), "position": int(position), "of": int(of)}:
                    self._start(at_s, position, of)
                case _:
                    raise SwarmError(f"unknown command {command!r}")

    def _start(self, at_s: float, position: int, of: int) -> None:
        settings, engine = self._settings, self._engine
        engine.ledger.start(at_s, settings.warmup_s, settings.measure_s)
        self._ends_s = at_s + settings.load_s
        start = Start(
            send=engine.send,
            ledger=engine.ledger,
            start_s=at_s,
            warmup_s=settings.warmup_s,
            end_s=self._ends_s,
            seed=settings.seed,
            engine=self._index,
            position=position,
            of=of,
        )
        engine.begin(settings.load.run(start))

    def _tick(self, now_s: float) -> None:
        self._channel.flush()
        self._slow.step(now_s)
        second = self._engine.ledger.at(now_s)
        if second is not self._second:
            self._turn_over(second, now_s)
        if now_s >= self._reports_s:
            self._reports_s = math.inf
            self._report(self._engine.load.counted_until_s(now_s))
        if now_s >= self._next_status_s:
            self._next_status_s = now_s + STATUS_EVERY_S
            self._channel.send({"event": "status"} | self._status())
        if now_s >= self._shuts_s:
            self._shut()
        if not self._done and now_s >= self._ends_s:
            self._drain(now_s)

    def _turn_over(self, second: Second, now_s: float) -> None:
        cpu_s = process_time()
        self._second.cpu_s = cpu_s - self._cpu_s
        self._second, self._cpu_s = second, cpu_s
        self._reports_s = now_s + self._report_after_s

    def _drain(self, now_s: float) -> None:
        if now_s >= self._ends_s + self._settings.drain_s:
            self._engine.give_up()
        if self._engine.is_quiet():
            self._done = True
            self._slow.rest()
            self._report(math.inf)
            self._shuts_s = now_s + (SHUT_MANY_AFTER_S if self._engine.pool.open > MANY else SHUT_AFTER_S)
            self._channel.send({"event": "done"} | self._status() | self._totals())

    def _shut(self) -> None:
        self._shuts_s = math.inf
        self._engine.pool.shut()
        self._slow.hold(0)

    def _report(self, until_s: float) -> None:
        for second in self._engine.ledger.news(until_s):
            self._channel.send({"event": "second"} | second.as_record())

    def _status(self) -> dict[str, Any]:
        pool, totals = self._engine.pool, self._engine.ledger.totals()
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
        }
