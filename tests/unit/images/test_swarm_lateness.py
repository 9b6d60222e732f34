"""Why a send is late: the server held every connection, or the generator was late. On a clock of its own."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from swarm import engine as engine_module
from swarm import pool as pool_module
from swarm.answers import HELLO
from swarm.connection import Connection
from swarm.engine import Engine
from swarm.exchange import for_wire
from swarm.executors import Start
from swarm.executors.constant_arrival_rate import ConstantArrivalRate
from swarm.histogram import Counts
from swarm.load import NoLoad
from wire import http1

START_S, RATE_PER_S = 100.0, 100.0
ANSWER = http1.response(200, HELLO)


class World:
    """A clock, a server that takes `service_s` for an answer, and a span in which the engine cannot run."""

    def __init__(self, service_s: float, frozen_s: tuple[float, float] = (0.0, 0.0)) -> None:
        self.now_s, self.service_s, self.frozen_s = START_S - 0.1, service_s, frozen_s
        self.peers: dict[int, socket.socket] = {}
        self.answers: dict[int, float] = {}  # when, by the descriptor of the client

    def monotonic(self) -> float:
        return self.now_s

    def write(self, fd: int, request: bytes) -> int:
        self.answers[fd] = self.now_s + self.service_s
        return len(request)

    def wait(self, due_s: float, _most: int) -> list[tuple[int, int]]:
        """Return at the next answer, or at `due_s`; after the span where that is inside it."""
        self.now_s = max(self.now_s, min([due_s, *self.answers.values()]))
        if self.frozen_s[0] <= self.now_s < self.frozen_s[1]:
            self.now_s = self.frozen_s[1]
        ready = [fd for fd, at_s in self.answers.items() if at_s <= self.now_s]
        for fd in ready:
            del self.answers[fd]
            self.peers[fd].send(ANSWER)
        return [(fd, select.EPOLLIN) for fd in ready]


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    made: list[socket.socket] = []
    yield made
    for each in made:
        each.close()


def lateness(
    world: World, users: int, monkeypatch: pytest.MonkeyPatch, sockets: list[socket.socket]
) -> tuple[Counts, Counts]:
    """All lateness of a second, in ms, and the generator's part of it."""
    monkeypatch.setattr(engine_module, "monotonic", world.monotonic)
    monkeypatch.setattr(engine_module, "_write", world.write)
    monkeypatch.setattr(pool_module, "monotonic", world.monotonic)
    unused: Any = None
    limits = {"spawn_rate_per_s": 1.0, "connect_deadline_s": 60.0, "request_timeout_s": 60.0}
    engine = Engine(for_wire("http1", "hello", "server"), unused, **limits)
    engine.poller.wait = world.wait  # type: ignore[method-assign]
    assert isinstance(engine.load, NoLoad)
    engine.pool.users = engine.pool._slots = users
    for _ in range(users):
        ours, theirs = socket.socketpair()
        sockets += [ours, theirs]
        connection = Connection()
        connection.fd = os.dup(ours.fileno())
        engine.pool.by_fd[connection.fd], world.peers[connection.fd] = connection, theirs
        engine.load.add_idle(connection, world.now_s)
    engine.seconds.start(START_S, 0.0, 1.0)
    start = Start(engine.send, engine.seconds, start_s=START_S, warmup_s=0.0, end_s=START_S + 1, seed=7)
    engine.start_load(ConstantArrivalRate(RATE_PER_S).run(start))
    while not engine.is_drained():
        engine.run_once()
    engine.pool.close_all()
    second = engine.seconds.at(START_S)
    assert second.answered == RATE_PER_S
    return milliseconds(second.lateness), milliseconds(second.lateness_generator)


def milliseconds(counts: Counts) -> Counts:
    rounded: Counts = {}
    for us, number in counts.items():
        rounded[round(us / 1000)] = rounded.get(round(us / 1000), 0) + number
    return rounded


def test_a_slow_server_that_holds_every_connection_makes_sends_late_and_the_generator_not(
    monkeypatch, sockets
) -> None:
    total, own = lateness(World(service_s=0.0205), 1, monkeypatch, sockets)
    assert max(total) > 900, "100 arrivals a second, one connection, 48 answers a second"
    assert set(own) == {0}


def test_a_frozen_generator_is_late_with_its_free_connections(monkeypatch, sockets) -> None:
    total, own = lateness(World(0.001, frozen_s=(START_S + 0.305, START_S + 0.455)), 50, monkeypatch, sockets)
    assert total == own
    assert max(own) == 145, "the arrival at 0.310 went out at 0.455"
    assert sum(number for ms, number in own.items() if ms) == 15


def test_a_frozen_generator_is_late_with_the_arrivals_that_its_few_connections_could_have_taken(
    monkeypatch, sockets
) -> None:
    _, own = lateness(World(0.001, frozen_s=(START_S + 0.305, START_S + 0.455)), 2, monkeypatch, sockets)
    assert max(own) == 145
    assert sum(number for ms, number in own.items() if ms) == 15


def test_an_answer_that_a_frozen_generator_finds_late_was_there_when_its_wait_should_have_ended(
    monkeypatch, sockets
) -> None:
    # The only request is under way from 0 to 0.2; the engine sleeps from 0.19 to 0.5.
    world = World(0.2, frozen_s=(START_S + 0.19, START_S + 0.5))
    total, own = lateness(world, 1, monkeypatch, sockets)
    assert max(own) >= 300, "the arrival of 0.01 could have gone out at 0.2"
    assert max(total) > max(own), "from 0.01 to 0.2 it had no connection"
