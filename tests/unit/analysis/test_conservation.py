"""What is counted twice agrees: Little's law, seconds and result, server and swarm within the window."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lab.analysis.model import Finding
from lab.load.merge import merged
from lab.results.load import LoadResult
from lab.results.record import TrialRecord
from tests.support import records
from tests.support.records import (
    ALL,
    RATE,
    USERS,
    VERIFIED,
    WINDOW_MS,
    N,
    counted,
    judged,
    second,
    trial,
    with_load,
    with_scenario,
    with_swarm,
)


def found(record: TrialRecord, check: str) -> list[Finding]:
    return [finding for finding in judged(record).findings if finding.check == check]


# -- Little's law


def test_an_earlier_swarm_is_not_checked() -> None:
    [finding] = found(with_load(trial(), in_flight_parts_s=None), "little_law")
    assert (finding.level, judged(with_load(trial(), in_flight_parts_s=None)).verdict) == ("unknown", "PASS")


def test_a_load_that_sent_nothing_keeps_the_law() -> None:
    assert not found(with_load(trial(), in_flight_area_s=0.0, in_flight_parts_s=0.0), "little_law")
    [finding] = found(with_load(trial(), in_flight_area_s=3.0, in_flight_parts_s=0.0), "little_law")
    assert finding.level == "invalid"


def test_a_limit_that_the_scenario_expects_does_not_excuse_it() -> None:
    stats = tuple(line.replaced(errors={"refused_limit": 5}) for line in trial().server_stats)
    limited = with_scenario(
        replace(trial(), server_stats=stats), expect={"epoll_lt": {"max_open": USERS + 1}}
    )
    assert ("known_limit", "ok") in {(f.check, f.level) for f in judged(limited).findings}
    assert ("little_law", "invalid") in counted(judged(with_load(limited, in_flight_area_s=5.0)))


# -- seconds and result


def dropped(k: int) -> LoadResult:
    """A load whose record lacks a second."""
    whole = records.load()
    return replace(whole, seconds=tuple(s for s in whole.seconds if s.k != k))


def test_a_second_that_a_group_lacks_is_named_with_its_group() -> None:
    one = trial().scenario.swarm.model_dump(mode="json")
    groups = {"browsers": one, "holders": one}
    swarm = {**one, "users": 2 * USERS, "load": {"executor": "by-group"}, "groups": groups}
    load = merged({"browsers": records.load(), "holders": dropped(4)})
    says = [f.says for f in found(with_scenario(replace(trial(), load=load), swarm=swarm), "seconds")]
    assert says[0].startswith("holders: ")
    assert not [line for line in says if line.startswith("browsers")]
    assert [s.answered for s in load.seconds] == [RATE if s.k == 4 else 2 * RATE for s in load.seconds]


def test_seconds_of_the_warm_up_count_too() -> None:
    [finding, *_] = found(replace(trial(), load=dropped(0)), "seconds")
    assert finding.level == "invalid"
    assert finding.says.startswith(
        f"whole load: intended: {ALL - RATE:,} in the seconds, {ALL:,} in the result"
    )


def test_users_of_a_locustfile_send_before_the_load_clock_starts() -> None:
    timing = {"source": "locust users", "resolution_us": 1, "response_from": "actual send"}
    own = with_swarm(trial(), load={"executor": "own-users"}, locustfile="users.py")
    whole = {
        **records.result()["whole"],
        **dict.fromkeys(("intended", "sent", "answered", "completed"), ALL + 9),
    }
    load = records.load(timing=timing, whole=whole)
    assert not found(replace(own, load=load), "seconds")


# -- the server's count inside the window


def lines(*counts: tuple[float, int]) -> TrialRecord:
    """The trial with so many requests counted at these times, in ms from the ends of the window."""
    told = [line for line in trial().server_stats if line.mono_ms not in {w + 0.5 for w in WINDOW_MS}]
    made = [told[0].replaced(mono_ms=at, requests=VERIFIED + count) for at, count in counts]
    return replace(trial(), server_stats=tuple(sorted((*told, *made), key=lambda line: line.mono_ms)))


def at_marks(start_off_ms: float, end_off_ms: float, lost: int = 0) -> TrialRecord:
    """Lines of a steady server, printed so long after the marks."""
    begun = ALL - N
    return lines(
        (WINDOW_MS[0] + start_off_ms, begun + round(RATE * start_off_ms / 1000)),
        (WINDOW_MS[1] + end_off_ms, ALL - lost),
    )


@pytest.mark.parametrize(("lost", "level"), [(0, None), (80, None), (120, "suspect"), (450, "invalid")])
def test_requests_that_the_server_did_not_count_in_the_window(lost: int, level: str | None) -> None:
    assert [f.level for f in found(at_marks(0.0, 0.0, lost), "server_window")] == ([level] if level else [])


def test_lines_off_the_marks_are_interpolated_and_allowed_for() -> None:
    assert not found(at_marks(30.0, 0.0), "server_window")
    assert not found(at_marks(40.0, 40.0, lost=30), "server_window"), "2,000/s for 80 ms are 160"
    assert found(at_marks(40.0, 0.0, lost=150), "server_window")


def test_without_a_line_at_a_mark_it_is_not_checked() -> None:
    [finding] = found(at_marks(60.0, 0.0), "server_window")
    assert finding.level == "unknown"
    assert judged(at_marks(60.0, 0.0)).verdict == "PASS"


def test_what_the_client_gave_up_may_have_been_answered() -> None:
    whole = {**records.result()["whole"], "answered": ALL - 400, "completed": ALL - 400, "failed": 400}
    changes: dict[str, Any] = {"answered": N - 400, "completed": N - 400, "failed": 400, "whole": whole}
    assert not found(with_load(trial(), **changes), "server_window")
    assert found(with_load(replace(trial(), server_stats=records.stats(N - 900)), **changes), "server_window")


def test_answers_on_a_link_are_on_their_way_at_both_ends() -> None:
    """A rate that rises has more of them on the link at the window's end."""
    rising = with_load(
        replace(trial(), server_stats=records.stats(N + 300)), in_flight_start=100, in_flight_end=400
    )
    assert found(rising, "server_window")
    link = {"endpoints": ["swarm", "servers"], "delay": "100ms"}
    linked = with_scenario(rising, links=[link])
    assert not found(linked, "server_window")


# -- connections held in the window


def holding(*connected: int, **changes: Any) -> TrialRecord:
    seconds = [second(k, connected=USERS if k < 2 else connected[k - 2]) for k in range(12)]
    return replace(with_load(trial(), seconds=seconds), **changes)


def test_connections_that_were_lost_in_the_window_are_seen_though_the_peak_was_whole() -> None:
    assert not found(holding(*[USERS] * 10), "connections_reached")
    [finding] = found(holding(*[USERS] * 7, 900, USERS, USERS), "connections_reached")
    assert (finding.level, finding.value) == ("invalid", 0.9)
    assert "900 of 1,000 users were connected throughout the window" in finding.says


def test_a_timed_event_may_end_connections_for_a_while() -> None:
    event = {"what": "restart", "target": "server", "wanted_mono_ms": WINDOW_MS[0] + 5000}
    assert not found(holding(*[USERS] * 7, 0, 300, USERS, events=(event,)), "connections_reached")
    assert found(holding(*[USERS] * 3, *[0] * 7, events=(event,)), "connections_reached")


@pytest.mark.parametrize(
    ("stages", "connected", "held"),
    [
        ([(4, 1000), (4, 1000)], [250, 500, 750, 900, 1000, 1000, 1000, 1000, 1000, 1000], 1000),
        ([(4, 1000), (4, 1000)], [250, 500, 750, 900, 1000, 1000, 940, 1000, 1000, 1000], 940),
        ([(4, 1000), (4, 0)], [250, 500, 750, 990, 760, 500, 260, 0, 0, 0], 990),
        ([(10, 1000)], [100, 200, 300, 400, 500, 600, 700, 800, 900, 985], 985),
    ],
    ids=["a plateau", "lost on the plateau", "up and down", "no plateau"],
)
def test_a_ramp_is_judged_on_its_plateau(stages: Any, connected: list[int], held: int) -> None:
    load = {
        "executor": "ramping-users", "think_time": 0.0, "rate": None,
        "stages": [{"duration": float(duration), "target": target} for duration, target in stages],
    }  # fmt: skip
    ramp = with_swarm(holding(*connected), users=10, load=load)
    assert [f.value for f in found(ramp, "connections_reached")] == ([held / 1000] if held < 990 else [])


def test_an_earlier_swarm_told_its_peak_only() -> None:
    seconds = [second(k, connected=900, lost_s=[]) for k in range(12)]
    assert not found(with_load(trial(), seconds=seconds), "connections_reached")
