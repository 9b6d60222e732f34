"""Little's law in both books of the engine, on a clock that the test sets: failures and backlogs included."""

from __future__ import annotations

from typing import Any

import pytest
from swarm.connection import Connection
from swarm.engine import Engine
from swarm.merge import EngineRecords
from swarm.under_way import InFlightArea

from tests.support.engine_clock import END_S, Clock, driven, merged, set_clock
from tests.support.records import counted, judged, trial, with_load

NEVER_S = 1e9


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return set_clock(monkeypatch)


def books(records: EngineRecords) -> tuple[float, float]:
    told = records.under_way()
    return told["in_flight_area_s"], told["in_flight_parts_s"]


@pytest.mark.parametrize(
    ("settings", "area_s"),
    [
        ({"after_s": 0.05}, 2 * 10 * 0.05),
        ({"after_s": 1.5}, 0.5 * 12.5 + 1.5 * 15),
        ({"after_s": NEVER_S, "timeout_s": 1.0}, 2 * 10 * 1.0),
        ({"after_s": NEVER_S}, 2 * 20),
        ({"after_s": 0.5, "users": 2}, 2 * 2),
    ],
    ids=["answers", "answers of another second", "failures", "in flight to the end", "a backlog"],
)
def test_both_books_hold_the_area_under_the_number_in_flight(
    clock: Clock, settings: dict[str, Any], area_s: float
) -> None:
    with_defaults = {"users": 60, "rate_per_s": 10.0, "until_s": END_S + 2} | settings
    area, parts = books(merged(driven(clock, **with_defaults)))
    assert parts == pytest.approx(area, abs=1e-6)
    assert area == pytest.approx(area_s, rel=0.05, abs=0.25)


class Keeps(dict[Connection, None]):
    """Forgets to drop every tenth request that has ended."""

    ended = 0

    def __delitem__(self, connection: Connection) -> None:
        self.ended += 1
        if self.ended % 10:
            super().__delitem__(connection)


class KeepingEngine(Engine):
    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.in_flight = Keeps()


class MistimingEngine(Engine):
    """Notes the time of a send anew while the request is in flight, as a later write would."""

    def send(self, connection: Connection, *arguments: Any) -> None:
        super().send(connection, *arguments)
        connection.sent_s += 0.2


@pytest.mark.parametrize("kind", [KeepingEngine, MistimingEngine])
def test_an_engine_that_loses_count_or_time_is_seen(clock: Clock, kind: type[Engine]) -> None:
    records = merged(driven(clock, users=40, after_s=0.5, rate_per_s=10.0, until_s=END_S + 2, kind=kind))
    told = records.under_way()
    summary = judged(
        with_load(trial(), **{name: told[name] for name in told if name.startswith("in_flight_")})
    )
    assert ("little_law", "invalid") in counted(summary)


def test_a_request_sent_after_the_end_of_a_second_is_of_the_next() -> None:
    area = InFlightArea()
    in_flight: dict[Connection, None] = {}
    for sent_s in (100.25, 101.5):
        connection = Connection()
        connection.sent_s = sent_s
        in_flight[connection] = None
        area.changes_s -= sent_s
    assert area.take(101.0, in_flight) == 0.75
    assert area.take(102.0, in_flight) == 1.5


def test_the_books_agree_after_a_month_of_uptime() -> None:
    """Times of the clock are large: 100,000 requests of 50 µs each, one after the other."""
    area, none = InFlightArea(), dict[Connection, None]()
    opens_s = 30 * 86_400.0
    area.open_window(opens_s, opens_s + 10)
    for number in range(100_000):
        sent_s = opens_s + number * 1e-4
        area.changes_s -= sent_s
        area.ended(sent_s, sent_s + 50e-6)
    assert area.take(opens_s + 10, none) == pytest.approx(area.parts_s, rel=1e-4)
