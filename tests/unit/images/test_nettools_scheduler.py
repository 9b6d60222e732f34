"""The scheduler of the delay line, with any sequence of packets: no kernel, no clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nettools.impairment import Impairment
from nettools.scheduler import Action, Scheduler, Verdict

MS = 1_000_000
PACKETS = st.lists(st.tuples(st.integers(0, 3 * MS), st.integers(20, 1500)), min_size=1, max_size=60)
SHARES = st.sampled_from([0.0, 0.1, 0.5, 1.0])


def dequeue_all(scheduler: Scheduler) -> list[Verdict]:
    verdicts = []
    while (due_ns := scheduler.next_due_ns) is not None:
        verdicts += scheduler.dequeue(due_ns, due_ns)
    return verdicts


def test_a_run_leaves_when_due_and_not_before() -> None:
    scheduler = Scheduler(Impairment(delay_ms=20))
    scheduler.enqueue_run(0, newest_id=3, count=3)
    scheduler.enqueue_run(5 * MS, newest_id=5, count=2)
    assert scheduler.dequeue(20 * MS - 1, 20 * MS - 1) == []
    assert scheduler.dequeue(20 * MS, 20 * MS) == [Verdict(Action.ACCEPT_UP_TO, 3)]
    assert scheduler.next_due_ns == 25 * MS
    assert scheduler.dequeue(30 * MS, 30 * MS) == [Verdict(Action.ACCEPT_UP_TO, 5)]
    assert scheduler.take_lateness() == {"samples": 5, "p50": 0, "p99": 5000, "max": 5000}
    assert scheduler.take_lateness()["samples"] == 0


def test_runs_due_together_leave_with_one_verdict() -> None:
    scheduler = Scheduler(Impairment(delay_ms=1))
    for packet_id in range(1, 100):
        scheduler.enqueue_run(packet_id, packet_id, 1)
    assert scheduler.dequeue(2 * MS, 2 * MS) == [Verdict(Action.ACCEPT_UP_TO, 99)]


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
    scheduler = Scheduler(
        Impairment(delay_ms=5, jitter_ms=jitter, loss=loss, corrupt=corrupt, duplicate=duplicate, seed=seed)
    )
    now_ns = 0
    for packet_id, (gap_ns, length) in enumerate(packets, start=1):
        now_ns += gap_ns
        assert scheduler.enqueue(now_ns, packet_id, length, bytes(length)) == ()
    decided = _decided(dequeue_all(scheduler), len(packets))
    assert decided == list(range(1, len(packets) + 1))
    assert scheduler.packets == len(packets)
    assert scheduler.backlog == 0


@given(
    chunks=st.lists(st.tuples(st.integers(0, 4 * MS), st.integers(1, 9)), min_size=1, max_size=30),
    jitter=st.sampled_from([0.0, 0.5, 9.0]),
    loss=SHARES,
    reorder=SHARES,
    seed=st.integers(0, 5),
)
def test_a_run_is_scheduled_as_its_packets_one_by_one(
    chunks: list[tuple[int, int]], jitter: float, loss: float, reorder: float, seed: int
) -> None:
    impairment = Impairment(delay_ms=3, jitter_ms=jitter, loss=loss, reorder=reorder, seed=seed)
    together, singly = Scheduler(impairment), Scheduler(impairment)
    now_ns = newest_id = 0
    for gap_ns, count in chunks:
        now_ns += gap_ns
        ids = range(newest_id + 1, newest_id + count + 1)
        newest_id += count
        at_once = [verdict for packet_id in ids for verdict in singly.enqueue(now_ns, packet_id)]
        assert together.enqueue_run(now_ns, newest_id, count) == at_once
        assert together.next_due_ns == singly.next_due_ns
        assert together.dequeue(now_ns, now_ns) == singly.dequeue(now_ns, now_ns)
    while (due_ns := singly.next_due_ns) is not None:
        assert together.next_due_ns == due_ns
        assert together.dequeue(due_ns, due_ns) == singly.dequeue(due_ns, due_ns)
    assert (together.backlog, together.packets, together.dropped) == (0, singly.packets, singly.dropped)
    assert together.take_lateness() == singly.take_lateness()


def _decided(verdicts: list[Verdict], count: int) -> list[int]:
    """Ids in the order in which the kernel would release or drop them, each once."""
    waiting, order = list(range(1, count + 1)), []
    for action, packet_id, _payload in verdicts:
        if action is Action.SEND_COPY:
            continue
        gone = [i for i in waiting if i <= packet_id] if action is Action.ACCEPT_UP_TO else [packet_id]
        order += gone
        waiting = [i for i in waiting if i not in gone]
    assert not waiting
    return order


@given(packets=PACKETS, rate=st.sampled_from([1e5, 1e6, 1e8]))
def test_a_rate_is_fully_used_and_never_exceeded(packets: list[tuple[int, int]], rate: float) -> None:
    scheduler = Scheduler(Impairment(delay_ms=1, rate_bit_per_s=rate))
    now_ns, link_free_ns = 0, 0
    for packet_id, (gap_ns, length) in enumerate(packets, start=1):
        now_ns += gap_ns
        scheduler.enqueue(now_ns, packet_id, length)
        link_free_ns = max(now_ns + MS, link_free_ns) + int((length + 14) * 8e9 / rate)
        due_ns = scheduler._last_due_ns
        assert due_ns == pytest.approx(link_free_ns, abs=len(packets))


def test_reorder_accepts_a_packet_at_once() -> None:
    scheduler = Scheduler(Impairment(delay_ms=10, reorder=1.0, reorder_gap=3))
    at_once = [scheduler.enqueue(0, packet_id) for packet_id in range(1, 7)]
    assert at_once == [(), (), (Verdict(Action.ACCEPT, 3),), (), (), (Verdict(Action.ACCEPT, 6),)]
    assert dequeue_all(scheduler) == [Verdict(Action.ACCEPT_UP_TO, 5)]


def test_a_lost_packet_keeps_its_place_and_takes_no_time() -> None:
    scheduler = Scheduler(Impairment(delay_ms=10, loss=1.0, rate_bit_per_s=8000))
    scheduler.enqueue(0, 1, 1000)
    assert scheduler.next_due_ns == 0
    assert dequeue_all(scheduler) == [Verdict(Action.DROP, 1)]


def test_one_bit_is_flipped() -> None:
    scheduler = Scheduler(Impairment(corrupt=1.0, seed=4))
    scheduler.enqueue(0, 1, 100, bytes(100))
    [(action, packet_id, payload)] = dequeue_all(scheduler)
    assert (action, packet_id) == (Action.ACCEPT_CHANGED, 1)
    assert sum(byte.bit_count() for byte in payload) == 1


def test_a_duplicate_of_a_corrupt_packet_is_corrupt_too() -> None:
    scheduler = Scheduler(Impairment(corrupt=1.0, duplicate=1.0))
    scheduler.enqueue(0, 1, 4, bytes(4))
    replaced, copy = dequeue_all(scheduler)
    assert (replaced.action, copy.action) == (Action.ACCEPT_CHANGED, Action.SEND_COPY)
    assert replaced.payload == copy.payload


def test_a_change_keeps_due_time_and_order_of_the_backlog() -> None:
    scheduler = Scheduler(Impairment(delay_ms=100))
    scheduler.enqueue_run(0, 1, 1)
    scheduler.change(Impairment(delay_ms=5))
    scheduler.enqueue_run(10 * MS, 2, 1)
    assert scheduler.next_due_ns == 100 * MS
    assert scheduler.dequeue(100 * MS, 100 * MS) == [Verdict(Action.ACCEPT_UP_TO, 2)]


def test_the_same_seed_gives_the_same_verdicts() -> None:
    def verdicts(seed: int) -> list[Verdict]:
        scheduler = Scheduler(Impairment(delay_ms=5, jitter_ms=3, loss=0.3, distribution="normal", seed=seed))
        for packet_id in range(1, 200):
            scheduler.enqueue(packet_id * MS, packet_id)
        return dequeue_all(scheduler)

    assert verdicts(1) == verdicts(1) != verdicts(2)


def test_the_older_half_of_a_run_is_late_by_the_arrival_error() -> None:
    scheduler = Scheduler(Impairment(delay_ms=20))
    scheduler.arrival_error_ns = 2 * MS
    scheduler.enqueue_run(0, newest_id=101, count=101)
    scheduler.dequeue(21 * MS, 21 * MS)
    lateness_us = scheduler.take_lateness()
    assert lateness_us["samples"] == 101
    assert lateness_us["max"] == pytest.approx(3000, rel=0.05)
    assert lateness_us["p50"] == pytest.approx(3000, rel=0.05)
    scheduler.enqueue_run(0, newest_id=201, count=100)
    scheduler.dequeue(21 * MS, 21 * MS)
    assert scheduler.take_lateness()["p50"] == pytest.approx(1000, rel=0.05)
