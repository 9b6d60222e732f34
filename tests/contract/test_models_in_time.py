"""All models within a time: the end after SIGTERM (images/CONTRACT.md), waits that overlap, rest."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from wire import datagram, http1

from tests.support.model_servers import (
    TCP_MODELS,
    UDP_MODELS,
    Client,
    entry,
    runs_out_of_descriptors,
    served_at_once,
    serving,
    udp_client,
)

GET = http1.request("GET", "/", "lab")
SIDE_BY_SIDE = 3  # these cases mostly wait

pytestmark = pytest.mark.alone


def a_stop_does_not_wait_for_an_idle_connection(model: str) -> None:
    with serving(model) as server, Client(server.port) as client:
        client.send(GET)
        client.responses(1)
        last, seconds = server.terminate()
        assert seconds < 2.0
        assert last["open"] == 0


def a_stop_does_not_wait_for_a_client_that_never_reads(model: str) -> None:
    with serving(model, "--wire", "echo") as server, Client(server.port, receive_buffer_bytes=4096) as client:
        client.fill()
        _, seconds = server.terminate()
        assert seconds < 2.0
        assert server.process_ids() == []


def waits_overlap_and_a_stop_sends_the_pending_answers(model: str) -> None:
    with serving(model, "--handler", "sleep:200ms") as server:
        count = min(20, served_at_once(model))
        clients = [Client(server.port) for _ in range(count)]
        idle = [Client(server.port)] if served_at_once(model) > count else []
        begin = time.monotonic()
        for client in clients:
            client.send(GET + GET)
        for client in clients:
            assert client.responses(2)[1].body == b"Hello, World!"
        assert time.monotonic() - begin < 3.0, "the waits did not overlap"
        for client in clients:
            client.send(GET)
        last, seconds = server.terminate()  # it has read some requests; others are unread
        assert seconds < 1.4, "idle connections delayed the stop until the end of the drain"
        assert all(client.responses(1)[0].status == 200 for client in clients)
        assert last["open"] == 0
        assert server.process_ids() == []
        for client in clients + idle:
            client.socket.close()


def without_free_descriptors_it_sleeps(model: str) -> None:
    limit = 40
    if model == "nonblocking" or not runs_out_of_descriptors(model, limit):  # the one never sleeps, by design
        return
    with serving(model, descriptors=limit) as server, ExitStack() as stack:
        for _ in range(60):
            stack.enter_context(Client(server.port))
        if entry(model).get("out_of_descriptors") != "closes":
            server.stats_when(lambda event: bool(event["errors"].get("emfile")), "emfile in the statistics")
        assert server.cpu_share(over_s=0.5) <= 0.1


def a_stop_sends_the_pending_datagrams(model: str) -> None:
    with serving(model, "--handler", "sleep:300ms") as server, udp_client(server.port) as client:
        for number in range(20):
            client.send(datagram.encode(number, b""))
        _, seconds = server.terminate()
        assert seconds < 2.0


TCP_CASES: tuple[Callable[[str], None], ...] = (
    a_stop_does_not_wait_for_an_idle_connection,
    a_stop_does_not_wait_for_a_client_that_never_reads,
    waits_overlap_and_a_stop_sends_the_pending_answers,
    without_free_descriptors_it_sleeps,
)


def of_every_model(case: Callable[[str], None], models: list[str]) -> None:
    """Run a case of every model, a few at a time; name those that fail."""

    def outcome(model: str) -> str:
        try:
            case(model)
        except (AssertionError, OSError) as error:
            return f"{model}: {error!r}"
        return ""

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        assert [failed for failed in pool.map(outcome, models) if failed] == []


@pytest.mark.parametrize("case", TCP_CASES, ids=lambda case: case.__name__)
def test_every_tcp_model(case: Callable[[str], None]) -> None:
    of_every_model(case, TCP_MODELS)


def test_every_udp_model() -> None:
    of_every_model(a_stop_sends_the_pending_datagrams, UDP_MODELS)
