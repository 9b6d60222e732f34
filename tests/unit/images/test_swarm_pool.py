"""The pool opens connections at its pace, and never so many at once that the loop around it is deaf."""

from __future__ import annotations

import select
import socket
from itertools import count
from typing import Any

import pytest
from swarm import pool
from swarm.pool import DIAL_S, Pool


class Dialler:
    """Dials nobody."""

    def __init__(self) -> None:
        self.dialled: list[socket.socket] = []

    def dial(self) -> socket.socket:
        self.dialled.append(socket.socket(socket.AF_UNIX))
        return self.dialled[-1]


class Owner:
    """Wants nothing."""

    def release(self) -> None:
        return None


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A pool of 200 users whose time has all come, on a clock that a look takes a millisecond of."""
    clock = count()
    monkeypatch.setattr(pool, "monotonic", lambda: next(clock) / 1000)
    dialler = Dialler()
    with select.epoll() as epoll:
        users = Pool(Owner(), dialler, epoll, rate_per_s=1e6, deadline_s=60.0, once=False)  # type: ignore[arg-type]
        users.users = 200
        yield users, dialler.dialled
        users.shut()


def test_a_step_dials_for_its_share_of_the_tick_and_the_next_one_goes_on(made: Any) -> None:
    users, dialled = made
    users.step(1.0)
    first = len(dialled)
    assert 1 <= first <= DIAL_S * 1000
    for step in range(200):
        users.step(1.0 + step / 100)
    assert len(dialled) == 200
