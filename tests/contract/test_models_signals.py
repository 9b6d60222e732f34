"""Signal-driven models: datagrams, and a queue of signals that is full."""

from __future__ import annotations

import resource

import pytest
from wire import datagram, http1

from tests.support.model_servers import UDP_MODELS, Client, serving, udp_client

GET = http1.request("GET", "/", "lab")


@pytest.mark.parametrize("model", UDP_MODELS)
def test_each_datagram_is_answered_by_its_id(model: str) -> None:
    with serving(model) as server, udp_client(server.port) as client:
        client.send(b"short")  # no id: no answer
        for number in range(200):
            client.send(datagram.encode(number, b"x" * number))
            assert datagram.decode(client.recv(65535)) == (number, b"x" * number)
        for number in range(100):
            client.send(datagram.encode(number, b"burst"))
        assert {datagram.decode(client.recv(65535)).id for _ in range(100)} == set(range(100))
        server.stats_when(lambda event: event["signals"] >= 1, "signals")
        last, _ = server.terminate()
        assert last["requests"] == 300
        assert last["errors"] == {"protocol": 1}
        assert (last["accepted"], last["open"]) == (0, 0)


@pytest.mark.parametrize("model", UDP_MODELS)
def test_waits_of_datagrams_overlap_and_a_stop_sends_the_pending_answers(model: str) -> None:
    with serving(model, "--handler", "sleep:300ms") as server, udp_client(server.port) as client:
        for number in range(20):
            client.send(datagram.encode(number, b""))
        last, _ = server.terminate()
        assert {datagram.decode(client.recv(65535)).id for _ in range(20)} == set(range(20))
        assert last["requests"] == 20


def test_a_full_signal_queue_over_tcp_loses_no_event() -> None:
    with serving("sigio_tcp") as server:
        resource.prlimit(server.ready["pid"], resource.RLIMIT_SIGPENDING, (4, 4))
        clients = [Client(server.port) for _ in range(200)]
        for _ in range(20):
            for client in clients:
                client.send(GET)
            for client in clients:
                assert client.responses(1)[0].status == 200
        for client in clients:
            client.socket.close()
        last, _ = server.terminate()
        assert last["overflows"] > 0, "the queue was never full: the case was not tested"
        assert sum("queue of signals was full" in event.get("says", "") for event in server.events) == 1
        assert last["requests"] == 4000
        assert last["open"] == 0


def test_a_full_signal_queue_under_aio_leaves_no_client_waiting() -> None:
    with serving("posix_aio") as server:
        with Client(server.port) as client:
            client.send(GET)
            client.responses(1)  # the server has read the limit of its queue by now
        resource.prlimit(server.ready["pid"], resource.RLIMIT_SIGPENDING, (0, 4096))  # no place at all
        clients = [Client(server.port) for _ in range(100)]
        for client in clients:
            client.send(GET)
        answered = sum(answered_or_closed(client) for client in clients)
        resource.prlimit(server.ready["pid"], resource.RLIMIT_SIGPENDING, (4096, 4096))
        with Client(server.port) as client:
            client.send(GET)
            assert client.responses(1)[0].status == 200
        for client in clients:
            client.socket.close()
        last, _ = server.terminate()
        assert last["overflows"] > 0, "the queue was never full: the case was not tested"
        assert any("queue of signals was full" in event.get("says", "") for event in server.events)
        assert last["errors"]["refused_limit"] >= 100 - answered
        assert last["open"] == 0


def answered_or_closed(client: Client) -> bool:
    """Return whether an answer arrived, or else the end of the connection; fail if neither does."""
    try:
        return bool(client.receive())
    except ConnectionResetError:
        return False


def test_a_full_signal_queue_over_udp_loses_no_event() -> None:
    with serving("sigio_udp") as server, udp_client(server.port) as client:
        resource.prlimit(server.ready["pid"], resource.RLIMIT_SIGPENDING, (2, 2))
        for _ in range(50):
            for number in range(50):
                client.send(datagram.encode(number, b"burst"))
            assert {datagram.decode(client.recv(65535)).id for _ in range(50)} == set(range(50))
        last, _ = server.terminate()
        assert last["requests"] == 2500
        assert sum("queue of signals was full" in event.get("says", "") for event in server.events) == 1
        assert last["overflows"] > 0, "the queue was never full: the case was not tested"
