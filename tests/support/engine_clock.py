"""The swarm's engine on a clock that the test sets, against a server that answers when the test wants."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Mapping

import pytest
from swarm import engine as engine_module
from swarm import poller, pool
from swarm.engine import Engine
from swarm.exchange import for_wire
from swarm.executors import Start
from swarm.executors.constant_arrival_rate import ConstantArrivalRate
from swarm.merge import EngineRecords
from wire import http1

START_S, WARMUP_S, MEASURE_S, TICKS_PER_S = 100.0, 1.0, 2.0, 100
END_S = START_S + WARMUP_S + MEASURE_S
ANSWER = http1.response(200, b"Hello, World!")


class Clock:
    """Stands where the test puts it."""

    def __init__(self) -> None:
        self.now_s = START_S - 1.0

    def __call__(self) -> float:
        return self.now_s


class SlowServer:
    """The other ends of the engine's connections: answers each request `after_s` later, or never."""

    def __init__(self, clock: Clock, after_s: float) -> None:
        self._clock, self._after_s = clock, after_s
        self._ends: list[socket.socket] = []
        self._due: deque[tuple[float, socket.socket]] = deque()

    def dial(self) -> socket.socket:
        """Stand for the engine's dialler."""
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setblocking(False)
        self._ends.append(theirs)
        return ours

    def close(self) -> None:
        """Close its ends."""
        for end in self._ends:
            end.close()

    def serve(self) -> None:
        """Take what has arrived; send the answers that are due."""
        for end in self._ends:
            try:
                if end.recv(4096):
                    self._due.append((self._clock.now_s + self._after_s, end))
            except BlockingIOError:
                continue
        while self._due and self._due[0][0] <= self._clock.now_s + 1e-9:
            self._due.popleft()[1].sendall(ANSWER)


def set_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Give the engine a clock that stands where the test puts it."""
    fake = Clock()
    for module in (engine_module, pool, poller):
        monkeypatch.setattr(module, "monotonic", fake)
    monkeypatch.setattr(poller, "MAX_WAIT_S", 0.0)  # nothing to wait for: the test moves the clock
    return fake


def driven(
    clock: Clock,
    *,
    users: int,
    after_s: float,
    rate_per_s: float,
    until_s: float,
    timeout_s: float = 60.0,
    stalls: Mapping[float, float] | None = None,
    ticks_per_s: int = TICKS_PER_S,
    kind: type[Engine] = Engine,
) -> Engine:
    """Run an engine from before the load until `until_s`, tick by tick, then end its load.

    `stalls`: how many seconds after the start of the load it stands still, and for how many.
    """
    server = SlowServer(clock, after_s)
    exchange = for_wire("http1", "hello", "server", connection_per_request=False)
    limits = {"connect_deadline_s": 60.0, "request_timeout_s": timeout_s}
    engine = kind(exchange, server, spawn_rate_per_s=10_000, **limits)  # type: ignore[arg-type]
    engine.pool.users = users
    engine.seconds.start(START_S, WARMUP_S, MEASURE_S)
    start = Start(engine.send, engine.seconds, START_S, WARMUP_S, END_S, seed=1)
    stands = {round((START_S + at_s) * ticks_per_s): for_s for at_s, for_s in (stalls or {}).items()}
    for tick in range(round(clock.now_s * ticks_per_s), round(until_s * ticks_per_s) + 1):
        if clock.now_s > tick / ticks_per_s:
            continue
        clock.now_s = tick / ticks_per_s + stands.get(tick, 0.0)
        if clock.now_s == START_S:
            engine.start_load(ConstantArrivalRate(rate_per_s).run(start))
        server.serve()
        for _ in range(3):
            engine.run_once()
    engine.end_drain()
    engine.end_load()
    engine.pool.close_all()
    server.close()
    return engine


def merged(engine: Engine) -> EngineRecords:
    """Return what a master makes of the engine's records."""
    records = EngineRecords()
    records.engines = 1
    for second in engine.seconds.changed(float("inf")):
        records.add("0:0", {"event": "second"} | second.as_record())
    records.add("0:0", {"event": "done", "in_flight_parts_s": engine.area.parts_s})
    records.finish()
    return records
