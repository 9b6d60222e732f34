"""All models at their limits: slow clients, no free descriptors, a restart in place.

These cases mostly wait, so those of several models run in parallel, each with its own server.
"""

from __future__ import annotations

import resource
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from wire import http1

from testbed.processes import environment, model_command
from tests.support.model_servers import (
    DEADLINE_S,
    TCP_MODELS,
    Client,
    entry,
    runs_out_of_descriptors,
    served_at_once,
    serving,
)

GET = http1.request("GET", "/", "lab")
PATTERN = b"0123456789abcdef"
PARALLEL_CASES = 5
# Own memory: parts of a file, the requests of one read, and what children (prefork has 16) touch themselves.
PIPELINED_MOST_BYTES = 48 << 20


def a_file_is_sent_completely(model: str) -> None:
    with serving(model, "--handler", "file:300KiB") as server, Client(server.port) as client:
        client.send(GET + http1.request("HEAD", "/", "lab") + GET)
        answers = client.responses(3, "GET", "HEAD", "GET")
        whole = PATTERN * (300 * 1024 // len(PATTERN))
        assert [answer.body for answer in answers] == [whole, b"", whole]
        client.socket.close()
        last, _ = server.terminate()
        assert last["bytes_out"] == client.received_bytes
        assert last["requests"] == 3


def slow_clients_do_not_block_others(model: str) -> None:
    """Slow senders and a slow reader; another client is served meanwhile."""
    count = min(5, served_at_once(model))
    room = served_at_once(model) > count + 1
    with serving(model, "--handler", "file:64KiB") as server, ExitStack() as stack:
        slow = [stack.enter_context(Client(server.port, receive_buffer_bytes=4096)) for _ in range(count)]
        other = stack.enter_context(Client(server.port)) if room else None
        for byte in GET:
            for client in slow:
                client.send(bytes([byte]))
            time.sleep(0.01)  # the pace of the case
            if other is not None:
                other.send(GET)
                other.responses(1)
        parser = http1.ResponseParser()
        answers = list(parser.feed(slow[0].socket.recv(1)))
        while not answers:
            answers += parser.feed(slow[0].socket.recv(3000))
            time.sleep(0.005)
        assert answers[0].body == PATTERN * 4096
        for client in slow[1:]:
            assert client.responses(1)[0].body == PATTERN * 4096
        stack.close()
        last, _ = server.terminate()
        assert last["requests"] == count + (len(GET) if room else 0)
        assert last["errors"] == {}


def a_client_that_does_not_read_meets_backpressure_then_gets_all(model: str) -> None:
    with serving(model, "--wire", "echo") as server:
        with Client(server.port, receive_buffer_bytes=4096) as client:
            if sent := client.fill():
                client.frames(sent)
        last, _ = server.terminate()
        assert last["open"] == 0


def pipelined_requests_for_large_files_meet_backpressure(model: str) -> None:
    """Answers of 1,000 MiB in all are asked in one read, by a client that never reads; it is stopped then."""
    with serving(model, "--handler", "file:1MiB") as server:
        before_bytes = server.memory_bytes()
        with Client(server.port, receive_buffer_bytes=4096) as client:
            client.send(GET * 1000)
            if served_at_once(model) > 1:
                with Client(server.port) as other:
                    other.send(http1.request("GET", "/plaintext", "lab"))
                    assert other.responses(1)[0].status == 200
            else:
                client.socket.recv(1)
            assert server.memory_bytes() - before_bytes < PIPELINED_MOST_BYTES
            server.terminate()


def running_out_of_descriptors(model: str) -> None:
    limit = 40
    with serving(model, descriptors=limit) as server:  # from the start: see io_uring.py, Traps
        clients = [Client(server.port) for _ in range(60)]
        runs_out = runs_out_of_descriptors(model, limit)
        tells = runs_out and entry(model).get("out_of_descriptors") != "closes"
        if tells:
            server.stats_when(lambda event: bool(event["errors"].get("emfile")), "emfile in the statistics")
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


def a_restart_in_place_keeps_the_process_and_its_totals(model: str, *flags: str) -> None:
    with serving(model, *flags) as server:
        with Client(server.port) as client:
            client.send(GET)
            client.responses(1)
        server.stats_when(lambda event: event["requests"] == 1 and not event["open"], "the figures so far")
        server.process.send_signal(signal.SIGUSR1)
        again = server.wait_for(lambda event: event["event"] == "ready", "ready again")
        assert again["pid"] == server.ready["pid"]
        with Client(again["port"]) as client:
            client.send(GET)
            assert client.responses(1)[0].status == 200
        last, _ = server.terminate()
        assert [last[key] for key in ("requests", "accepted", "open", "open_peak")] == [2, 2, 0, 1]
        assert server.process_ids() == []


CASES: tuple[Callable[[str], None], ...] = (
    a_file_is_sent_completely,
    slow_clients_do_not_block_others,
    a_client_that_does_not_read_meets_backpressure_then_gets_all,
    pipelined_requests_for_large_files_meet_backpressure,
    running_out_of_descriptors,
    a_restart_in_place_keeps_the_process_and_its_totals,
)
Started = dict[tuple[Callable[[str], None], str], Future[None]]


@pytest.fixture(scope="module")
def started(request: pytest.FixtureRequest) -> Iterator[Started]:
    """Start all selected cases, a few at a time; the test of each takes its result."""
    selected = [
        (item.callspec.params["case"], item.callspec.params["model"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.originalname == test_every_model.__name__
    ]
    with ThreadPoolExecutor(PARALLEL_CASES) as pool:
        yield {(case, model): pool.submit(case, model) for case, model in selected}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("model", TCP_MODELS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_every_model(started: Started, case: Callable[[str], None], model: str) -> None:
    started[case, model].result()


def test_workers_are_restarted_too() -> None:
    a_restart_in_place_keeps_the_process_and_its_totals("epoll_lt", "--workers", "2")


def test_a_server_ends_when_its_standard_output_is_closed() -> None:
    process = subprocess.Popen(
        model_command("epoll_lt"), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        assert b"ready" in process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=DEADLINE_S) == 1
        assert process.stderr.read() == b"standard output is closed: nobody reads the statistics\n"
    finally:
        process.kill()
        process.wait(timeout=DEADLINE_S)
        assert process.stderr is not None
        process.stderr.close()


def test_select_refuses_high_descriptors_and_serves_the_others() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    try:
        with serving("select", "--backlog", "4096") as server:
            with ExitStack() as stack:
                clients = [stack.enter_context(Client(server.port)) for _ in range(1100)]
                assert clients[-1].receive() == b"", "not refused"
                clients[0].send(GET)
                assert clients[0].responses(1)[0].status == 200
            last, _ = server.terminate()
            assert last["accepted"] == 1100
            assert last["open_peak"] <= 1024
            assert last["errors"]["refused_limit"] > 70
            assert any("does not fit" in event.get("says", "") for event in server.events)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


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
