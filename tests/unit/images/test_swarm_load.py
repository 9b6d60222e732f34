"""Open and closed load against a fake sender: what is sent when, with which intended time."""

from __future__ import annotations

import math

import pytest
from swarm.connection import Connection
from swarm.executors import Executor, Start
from swarm.executors.constant_arrival_rate import ConstantArrivalRate
from swarm.executors.constant_users import ConstantUsers
from swarm.executors.think_time import ThinkTime
from swarm.load import LoadProcess, NoLoad
from swarm.seconds import Second, Seconds

START_S, END_S = 100.0, 103.0


class Sender:
    """Remembers what it was asked to send."""

    def __init__(self) -> None:
        self.sent: list[tuple[Connection, float, Second]] = []
        self.held_s: list[float] = []

    def __call__(
        self, connection: Connection, intended_s: float, second: Second, held_s: float = math.inf, /
    ) -> None:
        self.sent.append((connection, intended_s, second))
        self.held_s.append(held_s)


def seconds() -> Seconds:
    result = Seconds()
    result.start(START_S, 1.0, 2.0)
    return result


def running(executor: Executor, send: Sender, counts: Seconds | None = None) -> LoadProcess:
    start = Start(send, counts or seconds(), start_s=START_S, warmup_s=1.0, end_s=END_S, seed=7)
    return executor.run(start)


def open_load(send: Sender, rate_per_s: float = 10.0, counts: Seconds | None = None) -> LoadProcess:
    return running(ConstantArrivalRate(rate_per_s), send, counts)


def closed_load(send: Sender, think_s: float) -> LoadProcess:
    return running(ConstantUsers(ThinkTime(a_s=think_s)), send)


def test_arrivals_come_at_their_times_and_end_with_the_load() -> None:
    send = Sender()
    load = open_load(send)
    for _ in range(100):
        load.add_idle(Connection(), START_S - 1)
    now_s = START_S
    while now_s < END_S + 1:
        load.send_due(now_s)
        now_s += 0.01
    assert [intended_s for _, intended_s, _ in send.sent] == pytest.approx(
        [START_S + n / 10 for n in range(30)]
    )
    assert [second.k for _, _, second in send.sent] == [0] * 10 + [1] * 10 + [2] * 10
    assert math.isinf(load.next_due_s)


def test_a_late_loop_sends_all_that_was_due_with_the_times_it_was_meant_for() -> None:
    send = Sender()
    load = open_load(send)
    for _ in range(20):
        load.add_idle(Connection(), START_S)
    load.send_due(START_S + 1.05)
    assert [round(intended_s - START_S, 6) for _, intended_s, _ in send.sent] == [n / 10 for n in range(11)]


def test_arrivals_without_a_connection_wait_in_order_and_keep_their_times() -> None:
    send, counts = Sender(), seconds()
    load = open_load(send, counts=counts)
    load.send_due(START_S + 0.25)
    assert (load.queued(), counts.at(START_S).intended, send.sent) == (3, 3, [])
    load.add_idle(Connection(), START_S + 2.0)
    assert (send.sent[0][1], send.held_s) == (START_S, [START_S])
    load.drop_queue(START_S + 3.0)
    assert (load.queued(), counts.at(START_S).unsent) == (0, 2)
    waited_us = sorted(counts.at(START_S).response_censored)
    assert waited_us == [pytest.approx(2_800_000, abs=1), pytest.approx(2_900_000, abs=1)]


def test_an_arrival_is_held_from_its_time_or_from_when_the_last_free_connection_was_taken() -> None:
    send = Sender()
    load = open_load(send)
    load.add_idle(Connection(), START_S)
    load.send_due(START_S + 0.05)  # takes the only connection, late
    load.send_due(START_S + 0.35)  # three more are due: none was free at any of their times
    load.add_idle(Connection(), START_S + 0.4)
    assert send.held_s == [math.inf, pytest.approx(START_S + 0.1)]
    load.drop_queue(START_S + 0.4)
    load.add_idle(Connection(), START_S + 0.4)
    load.send_due(START_S + 0.65)  # at 0.4, 0.5 and 0.6 the new connection was free; the loop came at 0.65
    load.add_idle(Connection(), START_S + 0.7)
    assert send.held_s[2:] == [math.inf, pytest.approx(START_S + 0.65)]


def test_connections_take_turns() -> None:
    send = Sender()
    load = open_load(send)
    first, second = Connection(), Connection()
    load.add_idle(first, START_S)
    load.add_idle(second, START_S)
    load.send_due(START_S)
    load.add_idle(first, START_S)
    load.send_due(START_S + 0.1)
    assert [connection for connection, _, _ in send.sent] == [first, second]


def test_a_connection_that_is_gone_is_passed_over() -> None:
    send = Sender()
    load = open_load(send)
    gone, alive = Connection(), Connection()
    gone.closed = True
    load.add_idle(gone, START_S)
    load.add_idle(alive, START_S)
    load.send_due(START_S)
    assert [connection for connection, _, _ in send.sent] == [alive]


def test_users_begin_spread_over_one_think_time() -> None:
    send = Sender()
    load = closed_load(send, think_s=1.0)
    for _ in range(200):
        load.add_idle(Connection(), START_S - 5)
    load.send_due(START_S + 0.5)
    assert 70 < len(send.sent) < 130
    assert all(START_S <= intended_s <= START_S + 0.5 for _, intended_s, _ in send.sent)


def test_a_user_thinks_between_an_answer_and_the_next_request() -> None:
    send = Sender()
    load = closed_load(send, think_s=0.5)
    user = Connection(answered=True)
    load.add_idle(user, START_S + 0.2)
    assert load.next_due_s == pytest.approx(START_S + 0.7)
    load.send_due(START_S + 0.69)
    assert send.sent == []
    load.send_due(START_S + 0.75)
    assert [(c, round(at_s, 6)) for c, at_s, _ in send.sent] == [(user, START_S + 0.7)]


def test_without_think_time_an_answer_is_followed_at_once() -> None:
    send = Sender()
    load = closed_load(send, think_s=0.0)
    user = Connection(answered=True)
    load.add_idle(user, START_S + 1.5)
    assert [(at_s, second.k, second.intended) for _, at_s, second in send.sent] == [(START_S + 1.5, 1, 1)]


@pytest.mark.parametrize("think_s", [0.0, 0.5])
def test_a_closed_load_sends_nothing_after_its_end(think_s: float) -> None:
    send = Sender()
    load = closed_load(send, think_s)
    load.add_idle(Connection(answered=True), END_S - 0.1 if think_s else END_S)
    load.send_due(END_S + 5)
    assert send.sent == []
    assert math.isinf(load.next_due_s)


def test_connections_gather_before_the_start() -> None:
    load, connection = NoLoad(), Connection()
    load.add_idle(connection, START_S)
    assert load.gathered == [connection]
    assert math.isinf(load.next_due_s)


@pytest.mark.parametrize("load", [NoLoad(), open_load(Sender()), closed_load(Sender(), 0.5)])
def test_a_load_gives_back_a_connection_that_has_nothing_to_do(load: LoadProcess) -> None:
    gone, idle = Connection(answered=True), Connection(answered=True)
    load.add_idle(gone, START_S)
    load.add_idle(idle, START_S)
    gone.closed = not isinstance(load, NoLoad)
    assert load.take_idle() is idle
    assert load.take_idle() is (None if gone.closed else gone)
    assert load.take_idle() is None
