"""The timeline: events happen at their times, on a clock that the test moves, and are written down."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lab.common.errors import HostCannot
from lab.plan.plan import Trial, expand
from lab.run.timeline import AHEAD_MS, Clock, Timeline
from tests.support.scenarios import TEXT, resolved

LINK = "links:\n  - {endpoints: [swarm, servers], delay: 20ms, loss: 1%}\n"
START_MS = 1000.0
DEADLINE_S = 10.0  # for what hangs


class HandClock(Clock):
    """Stands still until the test moves it."""

    def __init__(self) -> None:
        self._at_ms, self._moved = START_MS - 100.0, threading.Condition()

    def now_ms(self) -> float:
        return self._at_ms

    def move(self, to_ms: float) -> None:
        with self._moved:
            self._at_ms = to_ms
            self._moved.notify_all()

    def wait(self, stop: threading.Event, timeout_s: float) -> bool:
        with self._moved:
            self._moved.wait(0.01)  # who waits reads the clock again: a move or the end may have come before
        return stop.is_set()


class Fake:
    """A deployment and its links, as far as events need them."""

    def __init__(self, clock: Clock, can_limit: bool = False) -> None:
        self._clock, self._can_limit = clock, can_limit
        self.done: list[tuple[Any, ...]] = []
        self._noted = threading.Condition()

    def _note(self, what: str, *details: object) -> None:
        with self._noted:
            self.done.append((self._clock.now_ms() - START_MS, what, *details))
            self._noted.notify_all()

    def expect(self, many: int) -> None:
        with self._noted:
            assert self._noted.wait_for(lambda: len(self.done) >= many, DEADLINE_S), self.done
        assert len(self.done) == many

    def pause(self, node: str) -> None:
        self._note("pause", node)

    def unpause(self, node: str) -> None:
        self._note("unpause", node)

    def signal(self, node: str, name: str) -> None:
        self._note(name, node)

    def limit(self, node: str, cpus: float | None, memory_bytes: int | None) -> Callable[[], None]:
        self._note("limit", node, cpus)
        if not self._can_limit:
            raise HostCannot("not here")
        return lambda: self._note("restore", node, cpus)

    def change_link(self, endpoints: tuple[str, str], to: object, at_mono_ms: float) -> float:
        self._note("link", endpoints)
        return at_mono_ms


def trial_with(tmp_path: Path, *events: str) -> Trial:
    text = TEXT + LINK + "events:\n" + "".join(f"  - {event}\n" for event in events)
    return next(trial for trial in expand(resolved(tmp_path, text)).trials if trial.server == "thread")


def run(
    tmp_path: Path, moments_ms: Sequence[float], *events: str, can_limit: bool = False
) -> tuple[Fake, Timeline, list[str]]:
    """Move the clock from moment to moment; at each, one thing happens."""
    clock, said = HandClock(), list[str]()
    fake = Fake(clock, can_limit)
    with Timeline(trial_with(tmp_path, *events), fake, fake, said.append, clock) as timeline:  # type: ignore[arg-type]
        timeline.begin(START_MS)
        for count, moment_ms in enumerate(moments_ms):
            clock.move(START_MS + moment_ms)
            fake.expect(count + 1)
    return fake, timeline, said


def test_they_happen_at_their_times_and_are_written_down(tmp_path: Path) -> None:
    fake, timeline, said = run(
        tmp_path, [-50, 100, 150, 200],
        "{at: 100ms, pause: thread, for: 100ms}",
        "{at: 300ms, link: [swarm, servers], set: {delay: 5ms}}",
        "{at: 250ms, pause: epoll_lt, for: 10ms}",
        "{at: 150ms, limit: thread, cpus: 0.5}",
    )  # fmt: skip
    assert [done[:2] for done in fake.done[1:]] == [(100, "pause"), (150, "limit"), (200, "unpause")]
    records = timeline.records()
    assert [r.what for r in records] == ["pause", "limit", "unpause", "set"]
    assert [r.actual_mono_ms for r in records] == [START_MS + 100, None, START_MS + 200, START_MS + 300]
    assert records[1].error == "not here"
    assert "event at 0.15 s: limit server, which failed: not here" in said


def test_a_limit_is_restored_at_its_end_and_both_are_recorded(tmp_path: Path) -> None:
    fake, timeline, _ = run(
        tmp_path, [50, 100, 250],
        "{at: 50ms, limit: thread, cpus: 0.5, for: 200ms}",
        "{at: 100ms, limit: thread, memory: 1GiB}",
        can_limit=True,
    )  # fmt: skip
    assert fake.done == [
        (50, "limit", "server", 0.5),
        (100, "limit", "server", None),
        (250, "restore", "server", 0.5),
    ]
    assert [r.what for r in timeline.records()] == ["limit", "limit", "restore limit"]
    assert [r.error for r in timeline.records()] == [None] * 3


def test_a_limit_that_could_not_be_set_is_not_restored(tmp_path: Path) -> None:
    clock, told = HandClock(), threading.Event()
    fake = Fake(clock)
    trial = trial_with(tmp_path, "{at: 10ms, limit: thread, cpus: 1, for: 10ms}")

    def say(text: str) -> None:
        if "restore" in text:
            told.set()

    with Timeline(trial, fake, fake, say, clock) as timeline:  # type: ignore[arg-type]
        timeline.begin(START_MS)
        clock.move(START_MS + 10)
        fake.expect(1)
        clock.move(START_MS + 20)
        assert told.wait(DEADLINE_S)
    assert [r.error for r in timeline.records()] == [
        "not here",
        "the limit was not set, so there is none to restore",
    ]
    assert len(fake.done) == 1


def test_a_link_change_is_handed_over_ahead_of_its_time(tmp_path: Path) -> None:
    fake, timeline, _ = run(
        tmp_path, [900 - AHEAD_MS], "{at: 900ms, link: [swarm, servers], clear: true}"
    )  # fmt: skip
    assert fake.done[0][0] == 900 - AHEAD_MS
    [record] = timeline.records()
    assert record.actual_mono_ms == record.wanted_mono_ms == START_MS + 900


def test_kill_is_known_afterwards(tmp_path: Path) -> None:
    fake, timeline, _ = run(tmp_path, [10], "{at: 10ms, kill: thread}")
    assert timeline.killed("server")
    assert not timeline.killed("worker-0")
    assert fake.done[0][1:] == ("SIGKILL", "server")


def test_a_restart_is_a_signal_and_kills_nobody(tmp_path: Path) -> None:
    fake, timeline, _ = run(tmp_path, [10], "{at: 10ms, restart: thread}")
    assert fake.done[0][1:] == ("SIGUSR1", "server")
    assert not timeline.killed("server")


def test_the_end_does_not_wait_for_what_is_still_to_come(tmp_path: Path) -> None:
    fake, timeline, _ = run(tmp_path, [], "{at: 9s, kill: thread}")
    assert (fake.done, timeline.records()) == ([], [])
    assert not any(thread.name.startswith("event ") for thread in threading.enumerate())


def test_the_clock_is_the_kernels_unless_another_is_given(tmp_path: Path) -> None:
    fake = Fake(Clock())
    with Timeline(trial_with(tmp_path, "{at: 10ms, kill: thread}"), fake, fake) as timeline:  # type: ignore[arg-type]
        timeline.begin(Clock().now_ms())
        fake.expect(1)
    [record] = timeline.records()
    assert record.actual_mono_ms is not None
    assert record.actual_mono_ms >= record.wanted_mono_ms
