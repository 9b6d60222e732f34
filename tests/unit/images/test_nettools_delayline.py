"""How the delay line looks for packets, before a kernel that queues them when the test wants it."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from nettools import netlink
from nettools.delayline import LOOKS, DelayLine, Lane, RunningMedian
from nettools.impairment import Impairment

NUMBER = 100
MS = 1_000_000


class Kernel:
    """One queue, as `netlink.Queue` shows it."""

    number = NUMBER
    socket = None
    verdicts_refused = 0

    def __init__(self) -> None:
        self.newest_id = 0
        self.announced: list[int] = []
        self.announces = True
        self.released = 0
        self.comes_while_read = 0

    def queue(self, packets: int) -> None:
        for _ in range(packets):
            self.newest_id = (self.newest_id + 1) & netlink.ID_MASK
            if self.announces:
                self.announced.append(self.newest_id)

    def announce(self, wanted: bool) -> None:
        self.announces = wanted

    def configure(self, copy_bytes: int, whole_segments: bool, limit_packets: int) -> None:
        assert (copy_bytes, whole_segments, limit_packets) == (0, True, 1000)

    def read(self) -> tuple[int, ...]:
        self.queue(self.comes_while_read)
        self.comes_while_read = 0
        ids, self.announced = tuple(self.announced), []
        return ids

    def verdict(self, messages: bytes) -> None:
        self.released = int.from_bytes(messages[-4:], "big")


class Sequences:
    """What procfs tells of that queue."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def read(self) -> dict[int, int]:
        return {NUMBER: self._kernel.newest_id}


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()
    monkeypatch.setattr(netlink, "Queue", lambda number: made)
    monkeypatch.setattr(netlink, "Sequences", lambda: Sequences(made))
    return made


class Clock:
    """CLOCK_MONOTONIC, as the test wants it."""

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


def look(line: DelayLine) -> bool:
    found = line._look()
    if line._ought_to_change(found):
        line._change()
    return found


def test_a_packet_that_comes_while_announcements_are_read_is_not_forgotten(
    kernel: Kernel, line: DelayLine
) -> None:
    kernel.queue(1)
    kernel.comes_while_read = 1
    assert line._look()
    assert kernel.announced == []
    assert line._lanes[NUMBER].line.packets == 2


def load(kernel: Kernel, line: DelayLine, clock: Clock) -> None:
    """Packets at every look, until they are no longer announced."""
    for _ in range(LOOKS + 1):
        assert kernel.announces
        clock.ns += MS // 2
        kernel.queue(3)
        assert look(line)
    assert not kernel.announces


def emptied(kernel: Kernel, line: DelayLine, clock: Clock) -> Lane:
    """The lane under load, when all that it held has left and it has just looked."""
    load(kernel, line, clock)
    lane = line._lanes[NUMBER]
    clock.ns += 40 * MS
    look(line)
    lane.leave(clock.ns, clock.ns)
    return lane


def test_dense_packets_are_not_announced_and_sparse_ones_are(
    kernel: Kernel, line: DelayLine, clock: Clock
) -> None:
    load(kernel, line, clock)
    kernel.queue(50)
    clock.ns += MS
    assert look(line)
    for _ in range(LOOKS):
        assert not kernel.announces
        clock.ns += MS
        assert not look(line)
    assert kernel.announces
    assert line._lanes[NUMBER].line.packets == kernel.newest_id


@pytest.mark.parametrize("found_after_ns", [6 * MS, 400_000])
def test_what_a_stall_leaves_unknown_counts_as_lateness(
    kernel: Kernel, line: DelayLine, clock: Clock, found_after_ns: int
) -> None:
    lane = emptied(kernel, line, clock)
    lane.line.take_lateness()
    clock.ns += found_after_ns
    kernel.queue(1)
    look(line)
    due_ns = lane.line.next_due_ns
    assert due_ns == clock.ns + 20 * MS - found_after_ns // 2
    lane.leave(due_ns, due_ns)
    told_us = lane.line.take_lateness()["max"]
    assert told_us == pytest.approx(max(found_after_ns - lane.grain_ns, 0) / 4000, rel=0.05)


def test_what_comes_while_the_newest_id_is_read_is_not_taken_as_come_before(
    kernel: Kernel, line: DelayLine, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane = emptied(kernel, line, clock)
    read, looked_ns = line._newest.read, clock.ns

    def kept_waiting() -> dict[int, int]:
        clock.ns += 5 * MS
        kernel.queue(1)
        return read()

    monkeypatch.setattr(line._newest, "read", kept_waiting)
    assert look(line)
    assert lane.line.next_due_ns == 20 * MS + (looked_ns + clock.ns) // 2


def test_sparse_packets_stay_announced(kernel: Kernel, line: DelayLine, clock: Clock) -> None:
    for _ in range(50):
        kernel.queue(1)
        clock.ns += 5 * MS
        look(line)
    assert kernel.announces


def test_ids_that_start_again_are_the_next_ones(kernel: Kernel, line: DelayLine) -> None:
    kernel.newest_id = line._lanes[NUMBER]._taken_id = netlink.ID_MASK - 1
    kernel.queue(4)
    line._look()
    line._lanes[NUMBER].leave(60 * MS, 60 * MS)
    assert line._lanes[NUMBER].line.packets == 4
    assert kernel.released == kernel.newest_id == 2


def test_a_dense_packet_that_came_between_two_looks_is_due_at_a_look(line: DelayLine) -> None:
    grain_ns = line._lanes[NUMBER].grain_ns
    assert (20 * MS / grain_ns) % 1 == pytest.approx(0.5, abs=0.001)


def test_a_running_median_is_not_moved_by_a_stall() -> None:
    median = RunningMedian()
    for _ in range(100):
        median.learn(60_000)
    median.learn(50 * MS)
    assert median.value_ns == pytest.approx(60_000, abs=6_000)
