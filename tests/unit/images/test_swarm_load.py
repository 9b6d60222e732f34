"""Open and closed load against a fake sender: who is sent when, and meant for when."""

from __future__ import annotations

import math
from random import Random

import pytest
from swarm.arrivals import of_load
from swarm.connection import Connection
from swarm.ledger import Ledger, Second
from swarm.load import ClosedLoad, Hold, LoadProcess, OpenLoad
from swarm.workload import Load

START_S, END_S = 100.0, 103.0


class Sender:
    """Remembers what it was asked to send."""

    def __init__(self) -> None:
        self.sent: list[tuple[Connection, float, Second]] = []

    def __call__(self, connection: Connection, intended_s: float, second: Second) -> None:
        self.sent.append((connection, intended_s, second))


def ledger() -> Ledger:
    result = Ledger()
    result.start(START_S, 1.0, 2.0)
    return result


def open_load(send: Sender, rate_per_s: float = 10.0, book: Ledger | None = None) -> OpenLoad:
    load = Load("constant-arrival-rate", rate_per_s)
    return OpenLoad(send, book or ledger(), of_load(load, 1.0, seed=7), START_S, END_S)


def closed_load(send: Sender, think_s: float) -> ClosedLoad:
    return ClosedLoad(send, ledger(), lambda: think_s, START_S, END_S, Random(1))


def test_arrivals_come_at_their_times_and_end_with_the_load() -> None:
    send = Sender()
    load = open_load(send)
    for _ in range(100):
        load.free(Connection(), START_S - 1)
    now_s = START_S
    while now_s < END_S + 1:
        load.due(now_s)
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
        load.free(Connection(), START_S)
    load.due(START_S + 1.05)
    assert [round(intended_s - START_S, 6) for _, intended_s, _ in send.sent] == [n / 10 for n in range(11)]


def test_arrivals_without_a_connection_wait_in_order_and_keep_their_times() -> None:
    send, book = Sender(), ledger()
    load = open_load(send, book=book)
    load.due(START_S + 0.25)
    assert (load.waiting(), book.at(START_S).intended, send.sent) == (3, 3, [])
    load.free(Connection(), START_S + 2.0)
    assert send.sent[0][1] == START_S
    load.give_up()
    assert (load.waiting(), book.at(START_S).unsent) == (0, 2)


def test_connections_take_turns() -> None:
    send = Sender()
    load = open_load(send)
    first, second = Connection(), Connection()
    load.free(first, START_S)
    load.free(second, START_S)
    load.due(START_S)
    load.free(first, START_S)
    load.due(START_S + 0.1)
    assert [connection for connection, _, _ in send.sent] == [first, second]


def test_a_connection_that_is_gone_is_passed_over() -> None:
    send = Sender()
    load = open_load(send)
    gone, alive = Connection(), Connection()
    gone.gone = True
    load.free(gone, START_S)
    load.free(alive, START_S)
    load.due(START_S)
    assert [connection for connection, _, _ in send.sent] == [alive]


def test_users_begin_spread_over_one_think_time() -> None:
    send = Sender()
    load = closed_load(send, think_s=1.0)
    for _ in range(200):
        load.free(Connection(), START_S - 5)
    load.due(START_S + 0.5)
    assert 70 < len(send.sent) < 130
    assert all(START_S <= intended_s <= START_S + 0.5 for _, intended_s, _ in send.sent)


def test_a_user_thinks_between_an_answer_and_the_next_request() -> None:
    send = Sender()
    load = closed_load(send, think_s=0.5)
    user = Connection(answered=True)
    load.free(user, START_S + 0.2)
    assert load.next_due_s == pytest.approx(START_S + 0.7)
    load.due(START_S + 0.69)
    assert send.sent == []
    load.due(START_S + 0.75)
    assert [(c, round(at_s, 6)) for c, at_s, _ in send.sent] == [(user, START_S + 0.7)]


def test_without_think_time_an_answer_is_followed_at_once() -> None:
    send = Sender()
    load = closed_load(send, think_s=0.0)
    user = Connection(answered=True)
    load.free(user, START_S + 1.5)
    assert [(at_s, second.k, second.intended) for _, at_s, second in send.sent] == [(START_S + 1.5, 1, 1)]


@pytest.mark.parametrize("think_s", [0.0, 0.5])
def test_a_closed_load_sends_nothing_after_its_end(think_s: float) -> None:
    send = Sender()
    load = closed_load(send, think_s)
    load.free(Connection(answered=True), END_S - 0.1 if think_s else END_S)
    load.due(END_S + 5)
    assert send.sent == []
    assert math.isinf(load.next_due_s)


def test_hold_gathers() -> None:
    hold, connection = Hold(), Connection()
    hold.free(connection, START_S)
    assert hold.gathered == [connection]
    assert math.isinf(hold.next_due_s)


@pytest.mark.parametrize("load", [Hold(), open_load(Sender()), closed_load(Sender(), 0.5)])
def test_a_load_gives_back_a_connection_that_has_nothing_to_do(load: LoadProcess) -> None:
    gone, idle = Connection(answered=True), Connection(answered=True)
    load.free(gone, START_S)
    load.free(idle, START_S)
    gone.gone = not isinstance(load, Hold)
    assert load.release() is idle
    assert load.release() is (None if gone.gone else gone)
    assert load.release() is None
