"""How the delay line looks for packets, before a kernel that queues them when the test wants it."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from nettools import netlink
from nettools.delayline import LOOKS, DelayLine, RunningMedian
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


@pytest.fixture
def line(kernel: Kernel) -> Iterator[DelayLine]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        made = DelayLine(ours)
        made._set(NUMBER, Impairment(delay_ms=20))
        yield made


def look(line: DelayLine, now_ns: int) -> bool:
    found = line._look(now_ns)
    if line._ought_to_change(found):
        line._change()
    return found


def test_a_packet_that_comes_while_announcements_are_read_is_not_forgotten(
    kernel: Kernel, line: DelayLine
) -> None:
    kernel.queue(1)
    kernel.comes_while_read = 1
    assert line._look(MS)
    assert kernel.announced == []
    assert line._lanes[NUMBER].line.packets == 2


def test_dense_packets_are_not_announced_and_sparse_ones_are(kernel: Kernel, line: DelayLine) -> None:
    now_ns = MS
    for _ in range(LOOKS + 1):
        assert kernel.announces
        now_ns += MS // 2
        kernel.queue(3)
        assert look(line, now_ns)
    assert not kernel.announces
    kernel.queue(50)
    assert look(line, now_ns + MS)
    for late in range(LOOKS):
        assert not kernel.announces
        assert not look(line, now_ns + (2 + late) * MS)
    assert kernel.announces
    assert line._lanes[NUMBER].line.packets == kernel.newest_id


def test_sparse_packets_stay_announced(kernel: Kernel, line: DelayLine) -> None:
    for number in range(1, 50):
        kernel.queue(1)
        look(line, 5 * MS * number)
    assert kernel.announces


def test_ids_that_start_again_are_the_next_ones(kernel: Kernel, line: DelayLine) -> None:
    kernel.newest_id = line._lanes[NUMBER]._taken_id = netlink.ID_MASK - 1
    kernel.queue(4)
    line._look(MS)
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
