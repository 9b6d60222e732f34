"""The delay line's decisions: no kernel, no clock, any sequence of packets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nettools.impairment import Impairment
from nettools.line import Do, Line, Verdict

MS = 1_000_000
PACKETS = st.lists(st.tuples(st.integers(0, 3 * MS), st.integers(20, 1500)), min_size=1, max_size=60)
SHARES = st.sampled_from([0.0, 0.1, 0.5, 1.0])


def leave_all(line: Line) -> list[Verdict]:
    verdicts = []
    while (due_ns := line.next_due_ns) is not None:
        verdicts += line.leave(due_ns, due_ns)
    return verdicts


def test_a_run_leaves_at_its_time_and_not_before() -> None:
    line = Line(Impairment(delay_ms=20))
    line.run(0, newest_id=3, count=3)
    line.run(5 * MS, newest_id=5, count=2)
    assert line.leave(20 * MS - 1, 20 * MS - 1) == []
    assert line.leave(20 * MS, 20 * MS) == [Verdict(Do.RELEASE, 3)]
    assert line.next_due_ns == 25 * MS
    assert line.leave(30 * MS, 30 * MS) == [Verdict(Do.RELEASE, 5)]
    assert line.take_lateness() == {"samples": 5, "p50": 0, "p99": 5000, "max": 5000}
    assert line.take_lateness()["samples"] == 0


def test_runs_that_are_due_together_leave_by_one_verdict() -> None:
    line = Line(Impairment(delay_ms=1))
    for packet_id in range(1, 100):
        line.run(packet_id, packet_id, 1)
    assert line.leave(2 * MS, 2 * MS) == [Verdict(Do.RELEASE, 99)]


@given(
    packets=PACKETS,
    jitter=st.sampled_from([0.0, 2.0]),
    loss=SHARES,
    corrupt=SHARES,
    duplicate=SHARES,
    seed=st.integers(0, 5),
)
def test_every_packet_gets_one_verdict_in_order(
    packets: list[tuple[int, int]], jitter: float, loss: float, corrupt: float, duplicate: float, seed: int
) -> None:
    line = Line(
        Impairment(delay_ms=5, jitter_ms=jitter, loss=loss, corrupt=corrupt, duplicate=duplicate, seed=seed)
    )
    now_ns = 0
    for packet_id, (gap_ns, length) in enumerate(packets, start=1):
        now_ns += gap_ns
        assert line.packet(now_ns, packet_id, length, bytes(length)) == ()
    decided = _decided(leave_all(line), len(packets))
    assert decided == list(range(1, len(packets) + 1))
    assert line.packets == len(packets)
    assert line.held == 0


@given(
    chunks=st.lists(st.tuples(st.integers(0, 4 * MS), st.integers(1, 9)), min_size=1, max_size=30),
    jitter=st.sampled_from([0.0, 0.5, 9.0]),
    loss=SHARES,
    reorder=SHARES,
    seed=st.integers(0, 5),
)
def test_a_run_is_decided_on_as_its_packets_one_by_one(
    chunks: list[tuple[int, int]], jitter: float, loss: float, reorder: float, seed: int
) -> None:
    impairment = Impairment(delay_ms=3, jitter_ms=jitter, loss=loss, reorder=reorder, seed=seed)
    together, singly = Line(impairment), Line(impairment)
    now_ns = newest_id = 0
    for gap_ns, count in chunks:
        now_ns += gap_ns
        ids = range(newest_id + 1, newest_id + count + 1)
        newest_id += count
        at_once = [verdict for packet_id in ids for verdict in singly.packet(now_ns, packet_id)]
        assert together.run(now_ns, newest_id, count) == at_once
        assert together.next_due_ns == singly.next_due_ns
        assert together.leave(now_ns, now_ns) == singly.leave(now_ns, now_ns)
    while (due_ns := singly.next_due_ns) is not None:
        assert together.next_due_ns == due_ns
        assert together.leave(due_ns, due_ns) == singly.leave(due_ns, due_ns)
    assert (together.held, together.packets, together.dropped) == (0, singly.packets, singly.dropped)
    assert together.take_lateness() == singly.take_lateness()


def _decided(verdicts: list[Verdict], count: int) -> list[int]:
    """Ids in the order in which the kernel would let go of them, each once, given what a release means."""
    left, order = list(range(1, count + 1)), []
    for do, packet_id, _payload in verdicts:
        if do is Do.COPY:
            continue
        gone = [i for i in left if i <= packet_id] if do is Do.RELEASE else [packet_id]
        order += gone
        left = [i for i in left if i not in gone]
    assert not left
    return order


@given(packets=PACKETS, rate=st.sampled_from([1e5, 1e6, 1e8]))
def test_a_rate_is_never_exceeded_and_never_wasted(packets: list[tuple[int, int]], rate: float) -> None:
    line = Line(Impairment(delay_ms=1, rate_bit_per_s=rate))
    now_ns, free_ns = 0, 0
    for packet_id, (gap_ns, length) in enumerate(packets, start=1):
        now_ns += gap_ns
        line.packet(now_ns, packet_id, length)
        free_ns = max(now_ns + MS, free_ns) + int((length + 14) * 8e9 / rate)
        due_ns = line._last_due_ns
        assert due_ns == pytest.approx(free_ns, abs=len(packets))


def test_reorder_lets_a_packet_go_at_once() -> None:
    line = Line(Impairment(delay_ms=10, reorder=1.0, reorder_gap=3))
    at_once = [line.packet(0, packet_id) for packet_id in range(1, 7)]
    assert at_once == [(), (), (Verdict(Do.AHEAD, 3),), (), (), (Verdict(Do.AHEAD, 6),)]
    assert leave_all(line) == [Verdict(Do.RELEASE, 5)]


def test_a_lost_packet_keeps_its_place_and_takes_no_time() -> None:
    line = Line(Impairment(delay_ms=10, loss=1.0, rate_bit_per_s=8000))
    line.packet(0, 1, 1000)
    assert line.next_due_ns == 0
    assert leave_all(line) == [Verdict(Do.DROP, 1)]


def test_one_bit_is_flipped() -> None:
    line = Line(Impairment(corrupt=1.0, seed=4))
    line.packet(0, 1, 100, bytes(100))
    [(do, packet_id, payload)] = leave_all(line)
    assert (do, packet_id) == (Do.REPLACE, 1)
    assert sum(byte.bit_count() for byte in payload) == 1


def test_a_duplicate_of_a_corrupt_packet_is_corrupt_too() -> None:
    line = Line(Impairment(corrupt=1.0, duplicate=1.0))
    line.packet(0, 1, 4, bytes(4))
    replaced, copy = leave_all(line)
    assert (replaced.do, copy.do) == (Do.REPLACE, Do.COPY)
    assert replaced.payload == copy.payload


def test_a_change_keeps_what_is_held_in_place() -> None:
    line = Line(Impairment(delay_ms=100))
    line.run(0, 1, 1)
    line.change(Impairment(delay_ms=5))
    line.run(10 * MS, 2, 1)
    assert line.next_due_ns == 100 * MS
    assert line.leave(100 * MS, 100 * MS) == [Verdict(Do.RELEASE, 2)]


def test_the_same_seed_is_the_same_fate() -> None:
    def fates(seed: int) -> list[Verdict]:
        line = Line(Impairment(delay_ms=5, jitter_ms=3, loss=0.3, distribution="normal", seed=seed))
        for packet_id in range(1, 200):
            line.packet(packet_id * MS, packet_id)
        return leave_all(line)

    assert fates(1) == fates(1) != fates(2)


def test_half_of_what_came_in_an_interval_is_late_by_more() -> None:
    line = Line(Impairment(delay_ms=20))
    line.unsure_ns = 2 * MS
    line.run(0, newest_id=101, count=101)
    line.leave(21 * MS, 21 * MS)
    told = line.take_lateness()
    assert told["samples"] == 101
    assert told["max"] == pytest.approx(3000, rel=0.05)
    assert told["p50"] == pytest.approx(3000, rel=0.05)
    line.run(0, newest_id=201, count=100)
    line.leave(21 * MS, 21 * MS)
    assert line.take_lateness()["p50"] == pytest.approx(1000, rel=0.05)
