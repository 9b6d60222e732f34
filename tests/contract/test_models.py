"""One contract for every model: whatever waits underneath, the bytes are the same."""

from __future__ import annotations

import http.client
import os
import random
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from wire import echo, greet, http1

from tests.contract.servers import (
    DEADLINE_S,
    ROOT,
    TCP_MODELS,
    Client,
    Server,
    entry,
    served_at_once,
    serving,
)

GET = http1.request("GET", "/", "lab")
PATTERN = b"0123456789abcdef"


@pytest.fixture(scope="module", params=TCP_MODELS)
def web(request: pytest.FixtureRequest) -> Iterator[Server]:
    with serving(request.param) as server:
        with Client(server.port) as client:  # whatever a first connection makes once is part of the baseline
            client.send(GET)
            client.responses(1)
        server.stats_when(lambda event: event["open"] == 0, "idle server")
        baseline = server.resources()
        yield server
        left = server.resources_fall_to(baseline)
        assert all(now <= then for now, then in zip(left, baseline, strict=True)), (
            f"{left} left of {baseline}"
        )
        last, seconds = server.terminate()
        assert seconds < 2.0
        assert last["open"] == 0
        assert last["accepted"] == last["closed"]
        assert server.family() == []


@pytest.fixture(scope="module", params=TCP_MODELS)
def echoing(request: pytest.FixtureRequest) -> Iterator[Server]:
    with serving(request.param, "--wire", "echo") as server:
        yield server
        last, _ = server.terminate()
        assert last["open"] == 0


def test_the_standard_client_is_served(web: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=10)
    for method, path, body, status, content in (
        ("GET", "/", None, 200, b"Hello, World!"),
        ("HEAD", "/", None, 200, b""),
        ("GET", "/plaintext?x=1", None, 200, b"Hello, World!"),
        ("GET", "/json", None, 200, b'{"message":"Hello, World!"}'),
        ("POST", "/", b"x" * 70000, 200, b"Hello, World!"),
        ("GET", "/nothing", None, 404, b"not found\n"),
        ("DELETE", "/", None, 405, b"method not allowed\n"),
    ):
        connection.request(method, path, body)
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (status, content), (method, path)
        assert answer.getheader("Server")
        assert answer.getheader("Date")
    connection.close()


def test_a_chunked_body_and_expect_continue(web: Server) -> None:
    head = b"POST / HTTP/1.1\r\nHost: lab\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
    with Client(web.port) as client:
        client.send(head)
        assert client.receive() == http1.CONTINUE
        client.send(b"5\r\nhello\r\n0\r\n\r\n")
        assert client.responses(1)[0].body == b"Hello, World!"


def test_one_byte_at_a_time(web: Server) -> None:
    with Client(web.port) as client:
        for byte in GET + GET:
            client.send(bytes([byte]))
        assert [answer.status for answer in client.responses(2)] == [200, 200]


def test_pipelined_answers_keep_their_order(web: Server) -> None:
    targets = ["/", "/json", "/nothing"] * 40
    with Client(web.port) as client:
        client.send(b"".join(http1.request("GET", target, "lab") for target in targets))
        kinds = [(answer.status, len(answer.body)) for answer in client.responses(len(targets))]
        assert kinds == [(200, 13), (200, 27), (404, 10)] * 40


def test_half_close_still_gets_its_answer(web: Server) -> None:
    with Client(web.port) as client:
        client.send(GET)
        client.end()
        assert client.rest().endswith(b"Hello, World!")


def test_connection_close_closes(web: Server) -> None:
    with Client(web.port) as client:
        client.send(http1.request("GET", "/", "lab", headers=[("Connection", "close")]))
        assert b"Connection: close" in client.rest()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: lab\n\n", 400),
        (b"GET / HTTP/3.0\r\nHost: lab\r\n\r\n", 505),
        (b"BREW / HTTP/1.1\r\nHost: lab\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nHost: lab\r\nX: " + b"y" * 20000 + b"\r\n\r\n", 431),
        (b"POST / HTTP/1.1\r\nHost: lab\r\nContent-Length: 99999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ],
)
def test_what_breaks_the_rules_is_refused_and_closed(web: Server, data: bytes, status: int) -> None:
    with Client(web.port) as client:
        client.send(GET + data)
        good, bad = client.responses(2)
        assert (good.status, bad.status) == (200, status)
        assert client.rest() == b""


def test_garbage_does_no_harm(web: Server) -> None:
    source = random.Random(7)
    for _ in range(30):
        with Client(web.port) as client:
            try:
                client.send(source.randbytes(source.randrange(1, 3000)))
                client.end()
                client.rest()
            except ConnectionError:
                pass  # a reset is a fine answer to garbage
    with Client(web.port) as client:
        client.send(GET)
        assert client.responses(1)[0].status == 200


def test_two_hundred_clients_at_once(web: Server) -> None:
    failures: list[str] = []

    def ask() -> None:
        try:
            with Client(web.port) as client:
                for _ in range(3):
                    client.send(GET)
                    assert client.responses(1)[0].body == b"Hello, World!"
        except (OSError, AssertionError) as error:
            failures.append(repr(error))

    threads = [threading.Thread(target=ask) for _ in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_resets_in_mid_request_and_mid_answer(web: Server) -> None:
    for data in (GET[:10], GET, GET * 500):
        for _ in range(10):
            client = Client(web.port)
            client.send(data)
            client.reset()
    with Client(web.port) as client:
        client.send(GET)
        assert client.responses(1)[0].status == 200


def test_a_frame_of_a_mebibyte_comes_back(echoing: Server) -> None:
    payload = random.Random(1).randbytes(1 << 20)
    with Client(echoing.port) as client:
        sender = threading.Thread(target=client.send, args=(echo.encode(payload) + echo.encode(b""),))
        sender.start()
        assert client.frames(2) == [payload, b""]
        sender.join()


def test_a_slow_reader_gets_everything_and_a_mute_one_is_held_back(echoing: Server) -> None:
    frame = echo.encode(b"x" * 60000)
    with Client(echoing.port, receive_buffer_bytes=4096) as client:
        client.socket.settimeout(0.5)
        sent = 0
        try:
            while sent < 200:
                client.send(frame)
                sent += 1
        except TimeoutError:
            pass  # as it should: the server stopped reading because we do not
        assert sent < 200, "12 MB were taken from a peer that reads nothing: no backpressure"
        client.socket.settimeout(10)
        if sent:
            client.frames(sent)


def test_the_tutorial_client_is_greeted(model_greet: Server) -> None:
    with Client(model_greet.port) as client:
        name = client.socket.getsockname()
        assert client.receive() == greet.GREETING
        client.send(greet.REPLY)
    heard = model_greet.wait_for(lambda event: event["event"] == "log", "log of the greeting")
    assert greet.REPLY.decode() in heard["says"]
    assert f"{name[0]}:{name[1]}" in heard["says"]


@pytest.fixture(params=TCP_MODELS)
def model_greet(request: pytest.FixtureRequest) -> Iterator[Server]:
    with serving(request.param, "--wire", "greet") as server:
        yield server
        last, _ = server.terminate()
        assert (last["requests"], last["accepted"], last["open"]) == (1, 1, 0)


@pytest.mark.parametrize("model", TCP_MODELS)
def test_a_file_is_sent_whole(model: str) -> None:
    with serving(model, "--handler", "file:300KiB") as server, Client(server.port) as client:
        client.send(GET + http1.request("HEAD", "/", "lab") + GET)
        answers = client.responses(3, "GET", "HEAD", "GET")
        whole = PATTERN * (300 * 1024 // len(PATTERN))
        assert [answer.body for answer in answers] == [whole, b"", whole]
        client.socket.close()
        last, _ = server.terminate()
        assert last["bytes_out"] == client.received_bytes
        assert last["requests"] == 3


@pytest.mark.parametrize("model", TCP_MODELS)
def test_waiting_holds_nobody_else_and_the_stop_lets_answers_out(model: str) -> None:
    with serving(model, "--handler", "sleep:200ms") as server:
        count = min(20, served_at_once(model))
        clients = [Client(server.port) for _ in range(count)]
        idle = [Client(server.port)] if served_at_once(model) > count else []
        begin = time.monotonic()
        for client in clients:
            client.send(GET + GET)
        for client in clients:
            assert client.responses(2)[1].body == b"Hello, World!"
        assert time.monotonic() - begin < 3.0, "waits were added up"
        for client in clients:
            client.send(GET)
        last, seconds = server.terminate()  # the requests are at the server: some in its hands, some unread
        assert seconds < 1.4, "the idle connections held it up to the end of the drain"
        assert all(client.responses(1)[0].status == 200 for client in clients)
        assert last["open"] == 0
        assert server.family() == []
        for client in clients + idle:
            client.socket.close()


@pytest.mark.parametrize("model", TCP_MODELS)
def test_running_out_of_descriptors(model: str) -> None:
    with serving(model) as server:
        pid = server.ready["pid"]
        limit = 40
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, limit))
        clients = [Client(server.port) for _ in range(60)]
        runs_out = entry(model)["needs"]["descriptors_per_connection"] and served_at_once(model) > limit
        tells = runs_out and entry(model).get("out_of_descriptors") != "closes"
        if tells:
            server.stats_when(lambda event: bool(event["errors"].get("emfile")), "emfile in the statistics")
        if runs_out and model != "nonblocking":  # that one never sleeps: it is what it is
            assert server.cpu_share(over_s=0.5) <= 0.1
        clients[0].send(GET)
        assert clients[0].responses(1)[0].status == 200
        for client in clients[:-1]:
            client.socket.close()
        if not tells and runs_out:
            server.stats_when(lambda event: event["open"] < 20, "closed connections")
        with clients[-1] if tells or not runs_out else Client(server.port) as waited:
            waited.send(GET)
            assert waited.responses(1)[0].status == 200
        clients[-1].socket.close()
        server.terminate()


@pytest.mark.parametrize("model", TCP_MODELS)
def test_a_stop_with_a_peer_that_never_reads(model: str) -> None:
    with serving(model, "--wire", "echo") as server, Client(server.port, receive_buffer_bytes=4096) as client:
        client.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.send(echo.encode(b"x" * 60000) * 400)
        _, seconds = server.terminate()
        assert seconds < 2.0
        assert server.family() == []


def test_a_server_whose_output_nobody_reads_ends_itself() -> None:
    path = f"{ROOT / 'images'}:{ROOT / 'images/server'}"
    command = [sys.executable, "-m", "iomodels", "epoll_lt", "--host", "127.0.0.1", "--port", "0"]
    process = subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        assert b"ready" in process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=DEADLINE_S) == 1
        assert process.stderr.read() == b"standard output is closed: nobody takes the statistics\n"
    finally:
        process.kill()
        process.wait(timeout=DEADLINE_S)
        assert process.stderr is not None
        process.stderr.close()


def test_select_refuses_what_does_not_fit_and_serves_the_rest() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    try:
        with serving("select", "--backlog", "4096") as server:
            clients = [Client(server.port) for _ in range(1100)]
            server.stats_when(lambda event: event["errors"].get("refused_limit", 0) > 70, "refusals")
            clients[0].send(GET)
            assert clients[0].responses(1)[0].status == 200
            assert refused(clients[-1])
            for client in clients:
                client.socket.close()
            last, _ = server.terminate()
            assert last["open_peak"] <= 1024
            assert any("does not fit" in event.get("says", "") for event in server.events)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def refused(client: Client) -> bool:
    try:
        client.send(GET)
        return client.rest() == b""
    except ConnectionError:
        return True


def test_blocking_serves_one_at_a_time_and_the_others_wait() -> None:
    with serving("blocking") as server, Client(server.port) as first, Client(server.port) as second:
        first.send(GET)
        first.responses(1)
        second.send(GET)
        second.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            second.receive()
        first.socket.shutdown(socket.SHUT_RDWR)
        second.socket.settimeout(10)
        assert second.responses(1)[0].status == 200
