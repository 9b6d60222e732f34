"""One contract for all models: they differ in how they wait, and send the same bytes."""

from __future__ import annotations

import http.client
import random
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from wire import echo, greet, http1

from tests.support.model_servers import TCP_MODELS, Client, Server, serving

GET = http1.request("GET", "/", "lab")


Resources = tuple[int, int, int]


class Prestarter:
    """Starts the next model's server while the current one is tested: a start is mostly waiting."""

    def __init__(self, models: list[str]) -> None:
        self._models = iter(models)
        self._pool = ThreadPoolExecutor(1)
        self._starting: dict[str, Future[tuple[Server, Resources]]] = {}
        self._start_next()

    def _start_next(self) -> None:
        if (model := next(self._models, None)) is not None:
            self._starting[model] = self._pool.submit(start_server, model)

    def take(self, model: str) -> tuple[Server, Resources]:
        """Return the model's server, and its resources when idle."""
        while model not in self._starting:
            self._start_next()
        found = self._starting.pop(model).result()
        self._start_next()
        return found

    def close(self) -> None:
        """Kill the servers that were not taken."""
        for future in self._starting.values():
            future.result()[0].kill()
        self._pool.shutdown()


def start_server(model: str) -> tuple[Server, Resources]:
    server = Server(model)
    try:
        with Client(server.port) as client:  # resources made by a first connection belong to the baseline
            client.send(GET)
            client.responses(1)
        server.stats_when(lambda event: event["open"] == 0, "idle server")
        return server, server.resources()
    except BaseException:
        server.kill()
        raise


@pytest.fixture(scope="module")
def prestarter(request: pytest.FixtureRequest) -> Iterator[Prestarter]:
    functions = [item for item in request.session.items if isinstance(item, pytest.Function)]
    mine = [item.callspec.params for item in functions if "web" in item.fixturenames]
    prestarter = Prestarter(list(dict.fromkeys(params["web"] for params in mine)))
    yield prestarter
    prestarter.close()


@pytest.fixture(scope="module", params=TCP_MODELS)
def web(request: pytest.FixtureRequest, prestarter: Prestarter) -> Iterator[Server]:
    server, baseline = prestarter.take(request.param)
    try:
        yield server
        left = server.resources_fall_to(baseline)
        assert all(now <= then for now, then in zip(left, baseline, strict=True)), (
            f"{left} left of {baseline}"
        )
        last, _ = server.terminate()
        assert last["open"] == 0
        assert last["accepted"] == last["closed"]
        assert server.process_ids() == []
    finally:
        if server.process.poll() is None:
            server.kill()


@pytest.fixture(scope="module", params=TCP_MODELS)
def echo_server(request: pytest.FixtureRequest) -> Iterator[Server]:
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
        client.shutdown_write()
        assert client.read_to_end().endswith(b"Hello, World!")


def test_connection_close_closes(web: Server) -> None:
    with Client(web.port) as client:
        client.send(http1.request("GET", "/", "lab", headers=[("Connection", "close")]))
        assert b"Connection: close" in client.read_to_end()


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
def test_protocol_errors_are_answered_and_closed(web: Server, data: bytes, status: int) -> None:
    with Client(web.port) as client:
        client.send(GET + data)
        good, bad = client.responses(2)
        assert (good.status, bad.status) == (200, status)
        assert client.read_to_end() == b""


def test_garbage_does_not_break_the_server(web: Server) -> None:
    source = random.Random(7)
    for _ in range(30):
        with Client(web.port) as client:
            try:
                client.send(source.randbytes(source.randrange(1, 3000)))
                client.shutdown_write()
                client.read_to_end()
            except ConnectionError:
                pass  # a reset is a valid answer to garbage
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


def test_resets_within_a_request_and_within_an_answer(web: Server) -> None:
    for data in (GET[:10], GET, GET * 500):
        for _ in range(10):
            client = Client(web.port)
            client.send(data)
            client.reset()
    with Client(web.port) as client:
        client.send(GET)
        assert client.responses(1)[0].status == 200


def test_a_frame_of_a_mebibyte_comes_back(echo_server: Server) -> None:
    payload = random.Random(1).randbytes(1 << 20)
    with Client(echo_server.port) as client:
        sender = threading.Thread(target=client.send, args=(echo.encode(payload) + echo.encode(b""),))
        sender.start()
        assert client.frames(2) == [payload, b""]
        sender.join()


def test_a_client_of_the_greet_wire_is_greeted(greet_server: Server) -> None:
    with Client(greet_server.port) as client:
        name = client.socket.getsockname()
        assert client.receive() == greet.GREETING
        client.send(greet.REPLY)
    heard = greet_server.wait_for(lambda event: event["event"] == "log", "log of the greeting")
    assert greet.REPLY.decode() in heard["says"]
    assert f"{name[0]}:{name[1]}" in heard["says"]


@pytest.fixture(params=TCP_MODELS)
def greet_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with serving(request.param, "--wire", "greet") as server:
        yield server
        last, _ = server.terminate()
        assert (last["requests"], last["accepted"], last["open"]) == (1, 1, 0)
