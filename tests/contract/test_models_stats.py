"""Statistics on request: a line at once, with all counters of that moment, and nothing else disturbed."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack

import pytest
from wire import http1

from tests.support.model_servers import MODELS, TCP_MODELS, Client, Server, served_at_once, serving

GET = http1.request("GET", "/", "lab")
REQUESTS = 7


def ask(server: Server) -> dict[str, object]:
    """Ask for statistics until a line answers: not that of the next second, nor one of some workers."""
    for _ in range(100):
        server.process.send_signal(signal.Signals[server.ready["stats_signal"]])
        line = server.stats_when(lambda event: True, "statistics")
        if line.get("asked") is True:
            return line
    raise AssertionError("no answer to 100 requests for statistics")


def ask_until(server: Server, **expected: int) -> None:
    """Ask until the counters say so. An answer is counted just after its last byte has left.

    While it is asked, a reporter never comes to the line of the next second.
    """
    for _ in range(1000):
        line = ask(server)
        if all(line[name] == count for name, count in expected.items()):
            return
    raise AssertionError(f"{line} instead of {expected}")


def serve_requests(server: Server) -> Client:
    """Have some requests answered, and return the client, which is still connected."""
    client = Client(server.port)
    for _ in range(REQUESTS):
        client.send(GET)
        assert client.responses(1)[0].status == 200
    return client


@pytest.mark.parametrize("model", TCP_MODELS)
def test_a_server_tells_its_counters_when_asked(model: str) -> None:
    with serving(model) as server:
        ask_until(server, requests=0, open=0)
        client = serve_requests(server)
        with client.socket:
            ask_until(server, requests=REQUESTS, open=1)
            client.send(GET)  # the model waits as before
            assert client.responses(1)[0].status == 200
        last, _ = server.terminate()
        assert (last["requests"], last["errors"]) == (REQUESTS + 1, {})


@pytest.mark.parametrize("model", [name for name in TCP_MODELS if MODELS[name].workers])
def test_the_counters_of_all_workers_are_of_the_moment_asked_for(model: str) -> None:
    with serving(model, "--workers", "3") as server:
        count = min(4, served_at_once(model))
        with ExitStack() as clients:
            for _ in range(count):
                clients.enter_context(serve_requests(server).socket)
            ask_until(server, requests=count * REQUESTS, open=count)


def test_a_line_of_a_worker_that_does_not_answer_is_none_that_was_asked_for() -> None:
    with serving("epoll_lt", "--workers", "2") as server:
        workers = [pid for pid in server.process_ids() if pid != server.ready["pid"]]
        os.kill(workers[0], signal.SIGSTOP)
        try:
            server.process.send_signal(signal.SIGUSR2)
            lines = [server.stats_when(lambda event: True, "statistics") for _ in range(3)]
            assert not any("asked" in line for line in lines)
        finally:
            os.kill(workers[0], signal.SIGCONT)
