"""An answer is completed in the second in which it comes: the engine on a clock that the test sets."""

from __future__ import annotations

import pytest
from hdrh.histogram import HdrHistogram
from swarm.connection import Connection
from swarm.load import NoLoad
from swarm.merge import EngineRecords
from swarm.second_ends import SecondEnds
from swarm.seconds import Seconds

from tests.support.engine_clock import (
    END_S,
    MEASURE_S,
    START_S,
    TICKS_PER_S,
    WARMUP_S,
    Clock,
    driven,
    merged,
    set_clock,
)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return set_clock(monkeypatch)


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
    noted = {"in_flight_start": 10, "queued_start": 0, "in_flight_end": 15, "queued_end": 0}
    assert noted.items() <= records.under_way().items()


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
