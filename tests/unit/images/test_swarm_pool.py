"""The pool opens connections at its rate, and bounds the time that connects take from a tick."""

from __future__ import annotations

import select
import socket
from itertools import count
from typing import Any

import pytest
from swarm import pool
from swarm.pool import MAX_DIAL_S, Pool


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
