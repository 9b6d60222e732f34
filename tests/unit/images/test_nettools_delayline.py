"""How the delay line polls for packets, with a fake kernel and a fake clock."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from nettools import netlink, nfqueue, nfqueue_counters
from nettools.delay_queue import DelayQueue
from nettools.delayline import POLLS_TO_SWITCH, DelayLine, RunningMedian
from nettools.impairment import Impairment

NUMBER = 100
MS = 1_000_000


class Kernel:
    """One queue, in place of `nfqueue.NfQueue`."""

    number = NUMBER
    socket = None
    verdicts_refused = 0

    def __init__(self) -> None:
        self.newest_id = 0
        self.notifications: list[int] = []
        self.notifies = True
        self.released = 0
        self.arrives_during_read = 0

    def queue(self, packets: int) -> None:
        for _ in range(packets):
            self.newest_id = (self.newest_id + 1) & netlink.ID_MASK
            if self.notifies:
                self.notifications.append(self.newest_id)

    def set_notify(self, wanted: bool) -> None:
        self.notifies = wanted

    def configure(self, copy_bytes: int, whole_segments: bool, limit_packets: int) -> None:
        assert (copy_bytes, whole_segments, limit_packets) == (0, True, 1000)

    def read(self) -> tuple[int, ...]:
        self.queue(self.arrives_during_read)
        self.arrives_during_read = 0
        ids, self.notifications = tuple(self.notifications), []
        return ids

    def send_verdicts(self, messages: bytes) -> None:
        self.released = int.from_bytes(messages[-4:], "big")


class NewestIds:
    """What procfs shows of that queue."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def read(self) -> dict[int, int]:
        return {NUMBER: self._kernel.newest_id}


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()
    monkeypatch.setattr(nfqueue, "NfQueue", lambda number: made)
    monkeypatch.setattr(nfqueue_counters, "NewestIds", lambda: NewestIds(made))
    return made


class Clock:
    """CLOCK_MONOTONIC, set by the test."""

    ns = MS

    def __call__(self) -> int:
        return self.ns


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def line(kernel: Kernel, clock: Clock) -> Iterator[DelayLine]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        made = DelayLine(ours, clock)
        made._set(NUMBER, Impairment(delay_ms=20))
        yield made


def poll(line: DelayLine) -> bool:
    found = line._poll()
    if line._should_switch(found):
        line._switch()
    return found


def test_a_packet_that_arrives_while_notifications_are_read_is_scheduled(
    kernel: Kernel, line: DelayLine
) -> None:
    kernel.queue(1)
    kernel.arrives_during_read = 1
    assert line._poll()
    assert kernel.notifications == []
    assert line._queues[NUMBER].scheduler.packets == 2


def put_under_load(kernel: Kernel, line: DelayLine, clock: Clock) -> None:
    """Queue packets before every poll, until they wake nobody."""
    for _ in range(POLLS_TO_SWITCH + 1):
        assert kernel.notifies
        clock.ns += MS // 2
        kernel.queue(3)
        assert poll(line)
    assert not kernel.notifies


def under_load(kernel: Kernel, line: DelayLine, clock: Clock) -> DelayQueue:
    """The queue under load, just polled, with an empty backlog."""
    put_under_load(kernel, line, clock)
    queue = line._queues[NUMBER]
    clock.ns += 40 * MS
    poll(line)
    queue.release(clock.ns, clock.ns)
    return queue


def test_under_load_packets_wake_nobody_until_the_load_ends(
    kernel: Kernel, line: DelayLine, clock: Clock
) -> None:
    put_under_load(kernel, line, clock)
    kernel.queue(50)
    clock.ns += MS
    assert poll(line)
    for _ in range(POLLS_TO_SWITCH):
        assert not kernel.notifies
        clock.ns += MS
        assert not poll(line)
    assert kernel.notifies
    assert line._queues[NUMBER].scheduler.packets == kernel.newest_id


@pytest.mark.parametrize("found_after_ns", [6 * MS, 400_000])
def test_the_arrival_error_after_a_stall_counts_as_lateness(
    kernel: Kernel, line: DelayLine, clock: Clock, found_after_ns: int
) -> None:
    queue = under_load(kernel, line, clock)
    queue.scheduler.take_lateness()
    clock.ns += found_after_ns
    kernel.queue(1)
    poll(line)
    due_ns = queue.scheduler.next_due_ns
    assert due_ns == clock.ns + 20 * MS - found_after_ns // 2
    queue.release(due_ns, due_ns)
    late_us = queue.scheduler.take_lateness()["max"]
    assert late_us == pytest.approx(max(found_after_ns - queue.poll_interval_ns, 0) / 4000, rel=0.05)


def test_a_packet_that_arrives_while_the_newest_id_is_read_is_dated_within_the_read(
    kernel: Kernel, line: DelayLine, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = under_load(kernel, line, clock)
    read, polled_ns = line._newest_ids.read, clock.ns

    def stalled_read() -> dict[int, int]:
        clock.ns += 5 * MS
        kernel.queue(1)
        return read()

    monkeypatch.setattr(line._newest_ids, "read", stalled_read)
    assert poll(line)
    assert queue.scheduler.next_due_ns == 20 * MS + (polled_ns + clock.ns) // 2


def test_sparse_packets_keep_waking_us(kernel: Kernel, line: DelayLine, clock: Clock) -> None:
    for _ in range(50):
        kernel.queue(1)
        clock.ns += 5 * MS
        poll(line)
    assert kernel.notifies


def test_ids_that_wrap_around_are_the_next_ones(kernel: Kernel, line: DelayLine) -> None:
    kernel.newest_id = line._queues[NUMBER]._last_id = netlink.ID_MASK - 1
    kernel.queue(4)
    line._poll()
    line._queues[NUMBER].release(60 * MS, 60 * MS)
    assert line._queues[NUMBER].scheduler.packets == 4
    assert kernel.released == kernel.newest_id == 2


def test_a_packet_that_arrives_midway_between_two_polls_is_due_at_a_poll(line: DelayLine) -> None:
    interval_ns = line._queues[NUMBER].poll_interval_ns
    assert (20 * MS / interval_ns) % 1 == pytest.approx(0.5, abs=0.001)


def test_a_running_median_is_not_moved_by_a_stall() -> None:
    median = RunningMedian()
    for _ in range(100):
        median.add(60_000)
    median.add(50 * MS)
    assert median.value_ns == pytest.approx(60_000, abs=6_000)
