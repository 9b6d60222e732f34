"""An answer is completed in the second in which it comes: the engine on a clock that the test sets."""

from __future__ import annotations

import socket
from collections import deque

import pytest
from hdrh.histogram import HdrHistogram
from swarm import engine as engine_module
from swarm import poller, pool
from swarm.connection import Connection
from swarm.engine import Engine
from swarm.exchange import for_wire
from swarm.executors import Start
from swarm.executors.constant_arrival_rate import ConstantArrivalRate
from swarm.load import NoLoad
from swarm.merge import EngineRecords
from swarm.second_ends import SecondEnds
from swarm.seconds import Seconds
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


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    fake = Clock()
    for module in (engine_module, pool, poller):
        monkeypatch.setattr(module, "monotonic", fake)
    monkeypatch.setattr(poller, "MAX_WAIT_S", 0.0)  # nothing to wait for: the test moves the clock
    return fake


def driven(clock: Clock, *, users: int, after_s: float, rate_per_s: float, until_s: float) -> Engine:
    """Run an engine from before the load until `until_s`, tick by tick, then end its load."""
    server = SlowServer(clock, after_s)
    exchange = for_wire("http1", "hello", "server", connection_per_request=False)
    limits = {"connect_deadline_s": 60.0, "request_timeout_s": 60.0}
    engine = Engine(exchange, server, spawn_rate_per_s=10_000, **limits)  # type: ignore[arg-type]
    engine.pool.users = users
    engine.seconds.start(START_S, WARMUP_S, MEASURE_S)
    start = Start(engine.send, engine.seconds, START_S, WARMUP_S, END_S, seed=1)
    first = round(clock.now_s * TICKS_PER_S)
    for tick in range(first, round(until_s * TICKS_PER_S) + 1):
        clock.now_s = tick / TICKS_PER_S
        if clock.now_s == START_S:
            engine.start_load(ConstantArrivalRate(rate_per_s).run(start))
        server.serve()
        for _ in range(3):
            engine.run_once()
    engine.end_load()
    engine.pool.close_all()
    server.close()
    return engine


def merged(engine: Engine) -> EngineRecords:
    records = EngineRecords()
    records.engines = 1
    for second in engine.seconds.changed(float("inf")):
        records.add("0:0", {"event": "second"} | second.as_record())
    records.finish()
    return records


def test_an_answer_counts_in_its_own_second_and_in_that_of_its_request(clock: Clock) -> None:
    records = merged(driven(clock, users=40, after_s=1.5, rate_per_s=10.0, until_s=END_S + 2))
    seconds = records.seconds()
    assert [s["answered"] for s in seconds] == [10, 10, 10]
    assert [s["completed"] for s in seconds] == [0, 5, 10]
    assert (records.window().counters["answered"], records.window().counters["completed"]) == (20, 15)
    assert records.all_phases().counters["completed"] == 30


def test_what_is_in_flight_is_noted_at_both_ends_of_the_window(clock: Clock) -> None:
    records = merged(driven(clock, users=40, after_s=1.5, rate_per_s=10.0, until_s=END_S + 2))
    assert [s["in_flight"] for s in records.seconds()] == [10, 15, 15]
    assert records.under_way() == {
        "in_flight_start": 10, "queued_start": 0, "in_flight_end": 15, "queued_end": 0,
    }  # fmt: skip


def test_arrivals_without_a_free_connection_are_noted_apart(clock: Clock) -> None:
    """Two connections and 0.5 s an answer: 4/s of the 10/s asked."""
    engine = driven(clock, users=2, after_s=0.5, rate_per_s=10.0, until_s=END_S)
    seconds = merged(engine).seconds()
    assert [s["in_flight"] for s in seconds] == [2, 2, 2]
    assert [s["queued"] for s in seconds] == [6, 12, 18]
    assert [s["completed"] for s in seconds] == [2, 4, 4]
    own = (HdrHistogram.decode(s["lateness_generator_hdr"]) for s in seconds if s["sent"])
    step_us = 1_000_000 // TICKS_PER_S
    assert max(histogram.get_max_value() for histogram in own) <= step_us, (
        "each goes at the next step of the clock"
    )
    assert max(s["late_p99_us"] for s in seconds if s["sent"]) > 1_000_000, (
        "most of it for want of a connection"
    )


def test_a_request_sent_just_before_an_ends_is_noticed_is_of_the_next_second() -> None:
    seconds = Seconds()
    ends = SecondEnds(seconds)
    seconds.start(START_S, WARMUP_S, MEASURE_S)
    ends.pass_to(START_S, {}, NoLoad())
    in_flight: dict[Connection, None] = {}
    for intended_s in (100.2, 100.9, 101.001):
        connection = Connection()
        connection.second = seconds.at(intended_s)
        in_flight[connection] = None
    ends.pass_to(101.002, in_flight, NoLoad())
    assert seconds.at(100.5).in_flight == 2


def test_after_a_stall_every_second_that_passed_is_closed() -> None:
    seconds = Seconds()
    ends = SecondEnds(seconds)
    seconds.start(START_S, WARMUP_S, MEASURE_S)
    ends.pass_to(START_S, {}, NoLoad())
    seconds.at(START_S).answered = 3
    ends.pass_to(102.5, {Connection(): None}, NoLoad())
    assert ends.current is seconds.at(102.5)
    assert [seconds.at(s).completed for s in (100.5, 101.5, 102.5)] == [3, 0, 0]


def test_what_one_engine_does_not_know_the_sum_does_not_know() -> None:
    records = EngineRecords()
    records.engines = 2
    seconds = Seconds()
    seconds.start(START_S, WARMUP_S, MEASURE_S)
    for engine, known in (("0:0", 4), ("1:0", None)):
        second = seconds.at(101.5)
        second.in_flight, second.queued = known, 0
        records.add(engine, {"event": "second"} | second.as_record())
    records.finish()
    [second_] = records.seconds()
    assert (second_["in_flight"], second_["queued"]) == (None, 0)
