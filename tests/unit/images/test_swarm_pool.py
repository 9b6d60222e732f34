"""The pool opens connections at its rate, and bounds the time that connects take from a tick."""

from __future__ import annotations

import math
import os
import select
import socket
from itertools import count
from typing import Any

import pytest
from swarm import pool
from swarm.connection import Connection
from swarm.pool import MAX_DIAL_S, Pool, redial_s, retry_s


class Dialler:
    """Dials nobody."""

    def __init__(self) -> None:
        self.dialled: list[socket.socket] = []

    def dial(self) -> socket.socket:
        self.dialled.append(socket.socket(socket.AF_UNIX))
        return self.dialled[-1]


class PoolOwner:
    """Has no idle connection."""

    def take_idle(self) -> None:
        return None


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A pool of 200 users that are all due; every reading of its clock takes a millisecond."""
    clock = count()
    monkeypatch.setattr(pool, "monotonic", lambda: next(clock) / 1000)
    dialler = Dialler()
    with select.epoll() as epoll:
        limits = {"rate_per_s": 1e6, "deadline_s": 60.0}
        users = Pool(PoolOwner(), dialler, epoll, connection_per_request=False, **limits)  # type: ignore[arg-type]
        users.users = 200
        yield users, dialler.dialled
        users.close_all()


def test_a_tick_dials_for_its_share_of_time_and_the_next_one_goes_on(made: Any) -> None:
    users, dialled = made
    users.tick(1.0)
    first = len(dialled)
    assert 1 <= first <= MAX_DIAL_S * 1000
    for step in range(200):
        users.tick(1.0 + step / 100)
    assert len(dialled) == 200


class Restarting:
    """Users of a server that is away for a while: connects are refused, and open connections have ended."""

    def __init__(self, users: int, *, away_s: float) -> None:
        self.now_s, self.back_s, self.attempts = 0.0, away_s, 0
        self.connected_s: dict[int, float] = {}
        limits = {"rate_per_s": 1e6, "deadline_s": 60.0}
        self.pool = Pool(self, self, FakeEpoll(), connection_per_request=False, **limits)  # type: ignore[arg-type]
        self.pool.users = self.pool._slots = users

    def dial(self) -> socket.socket:
        self.attempts += 1
        if self.now_s < self.back_s:
            raise ConnectionRefusedError("nobody listens")
        self.connected_s[self.attempts] = self.now_s
        return socket.socket(socket.AF_UNIX)

    def fail(self, connection: Connection, kind: str, message: str) -> None:
        self.pool.drop(connection, self.now_s, unused=True)

    def take_idle(self) -> None:
        return None

    def run(self, until_s: float) -> None:
        while self.now_s < until_s:
            self.pool.tick(self.now_s)
            self.now_s += 0.01


class FakeEpoll:
    def register(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("away_s", [0.023, 0.2, 2.0, 20.0])
def test_users_of_a_server_that_was_away_are_back_within_twice_that_time_more(
    away_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = Restarting(50, away_s=away_s)
    monkeypatch.setattr(pool, "monotonic", lambda: world.now_s)
    for number in range(50):  # half of them were never used, but open for a minute
        used = Connection(answered=bool(number % 2))
        used.fd, used.sent_s = os.dup(0), -60.0
        world.pool.by_fd[used.fd] = used
        world.pool.drop(used, 0.0, unused=True)
    world.run(away_s * 3.0 + 0.05)  # a pause is at most twice all that were before it
    world.pool.close_all()
    assert len(world.connected_s) == 50
    assert world.attempts <= 50 * (3 + math.log2(2 * max(away_s, 0.01) / 0.005))
    if away_s >= 0.2:
        assert len(set(world.connected_s.values())) > 5, "they do not come in one burst"


def test_users_that_a_server_turns_away_do_not_flood_it() -> None:
    epoll: Any = FakeEpoll()
    unused: Any = None
    users = Pool(unused, unused, epoll, rate_per_s=1.0, deadline_s=60.0, connection_per_request=False)
    pauses = []
    for failures in range(5):
        turned_away = Connection(failures)
        turned_away.fd = os.dup(0)
        users.by_fd[turned_away.fd] = turned_away
        users.drop(turned_away, 0.0, unused=True)
        pauses.append(users._retries.pop()[0])
    assert pauses == [0.25, 10.0, 20.0, 40.0, 60.0]
    assert retry_s(5000) == redial_s(5000) == 60.0
