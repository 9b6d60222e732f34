"""The engine alone, against real sockets: conservation, outcomes by kind, times."""

from __future__ import annotations

import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from swarm.answers import HELLO
from swarm.histogram import quantile_us
from wire import http1

from tests.support.runtimes import HANGS_S
from tests.support.swarm_nodes import (
    EngineRun,
    Node,
    drive,
    engine,
    free_port,
    model_server,
    run_engine,
    scripted_server,
    settings,
)

Serve = Callable[[socket.socket], None]
ANSWER = http1.response(200, HELLO)


def answering(answer: bytes = ANSWER, wait_s: Callable[[], float] = lambda: 0.0) -> Serve:
    """A server side that answers every request after a wait."""

    def serve(connection: socket.socket) -> None:
        while connection.recv(4096):
            time.sleep(wait_s())
            connection.sendall(answer)
        connection.close()

    return serve


def silent(connection: socket.socket) -> None:
    """A server side that never says anything."""
    connection.recv(4096)


def dying(after: bytes = b"", *, reset: bool = False) -> Serve:
    """A server side that ends each connection at its first request."""

    def serve(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(after)
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    return serve


@pytest.mark.parametrize(
    ("wire", "handler"), [("http1", "hello"), ("http1", "echo"), ("http1", "file:64KiB"), ("echo", "echo")]
)
def test_every_request_has_its_outcome_and_seconds_sum_to_the_window(wire: str, handler: str) -> None:
    with model_server("epoll_lt", wire, handler) as (server, port):
        run = run_engine(settings(port, wire=wire, handler=handler))
        server.end()
        served = server.named("stopped")[-1]
    run.assert_conserved()
    assert run.errors() == {}
    assert run.sum("answered") == 200  # to the request
    assert run.sum("answered", "measure") == 120
    assert served["requests"] == 200
    assert served["accepted"] == run.sum("connects") == 20
    assert (served["bytes_in"], served["bytes_out"]) == (run.sum("bytes_out"), run.sum("bytes_in"))


def test_greet_makes_a_connection_per_request() -> None:
    with model_server("epoll_lt", "greet", "hello") as (server, port):
        run = run_engine(settings(port, wire="greet"))
        server.wait(HANGS_S, lambda e: e.get("requests") == 200, "200 greetings heard")
    run.assert_conserved()
    assert run.errors() == {}
    assert run.sum("connects") == run.sum("answered") == 200


@pytest.mark.alone
def test_datagrams_are_conserved_where_one_in_ten_is_lost() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(5.0)

        def serve() -> None:
            for number in range(200):
                data, address = peer.recvfrom(65536)
                if number % 10:
                    peer.sendto(data, address)
                    peer.sendto(data, address)  # UDP may repeat

        thread = threading.Thread(target=serve)
        thread.start()
        run = run_engine(
            settings(peer.getsockname()[1], wire="datagram", handler="echo", request_timeout_s=0.3)
        )
        thread.join(10.0)
    run.assert_conserved()
    assert run.errors() == {"timeout": 20}


@pytest.mark.alone
def test_a_closed_load_has_a_request_per_user_and_turn() -> None:
    load = {"executor": "constant-users", "think_time_s": 0.1}
    with model_server("epoll_lt", "http1", "hello") as (_, port):
        run = run_engine(settings(port, load=load))
    run.assert_conserved()
    assert run.sum("answered", "measure") == pytest.approx(20 / 0.1 * 0.3, rel=0.2)


@pytest.mark.alone
def test_a_closed_load_without_think_time_keeps_every_user_busy() -> None:
    with model_server("epoll_lt", "http1", "hello") as (_, port):
        run = run_engine(settings(port, users=5, load={"executor": "constant-users", "think_time_s": 0}))
    run.assert_conserved()
    assert run.errors() == {}
    assert run.sum("answered", "measure") > 50


FAULTY: dict[str, tuple[Serve, str]] = {
    "closed": (dying(), "closed"),
    "cut": (dying(ANSWER[:40]), "closed"),
    "reset": (dying(reset=True), "reset"),
    "not http": (dying(b"SMTP ready\r\n\r\n"), "protocol"),
    "twice": (answering(ANSWER * 2), "protocol"),
    "wrong body": (answering(http1.response(200, b"Hello, World?")), "wrong_answer"),
    "wrong status": (answering(http1.response(503, b"busy")), "wrong_answer"),
}


def of_a_faulty_server(serve: Serve, late_s: float = HANGS_S) -> EngineRun:
    given = settings(0, phases={"warmup_s": 0, "measure_s": 0.3}, drain_s=0.3)
    with scripted_server(serve) as port:
        return run_engine(given | {"target": {"host": "127.0.0.1", "port": port}}, late_s=late_s)


@pytest.mark.parametrize(("serve", "kind"), FAULTY.values(), ids=FAULTY)
def test_every_error_has_its_kind(serve: Serve, kind: str) -> None:
    run = of_a_faulty_server(serve)
    run.assert_conserved()
    assert set(run.errors()) == {kind}
    assert run.sum("failed") == run.errors()[kind]
    fault = run.done["faults"][kind]
    assert fault["count"] == run.errors()[kind]
    assert run.start_s <= fault["first_mono_ms"] / 1e3 <= fault["last_mono_ms"] / 1e3 <= time.monotonic()
    assert fault["example"]


@pytest.mark.alone
def test_errors_of_a_short_load_lie_within_five_seconds_of_its_start() -> None:
    with ThreadPoolExecutor(len(FAULTY)) as pool:  # they mostly wait
        runs = pool.map(lambda faulty: of_a_faulty_server(faulty[0], late_s=5.0), FAULTY.values())
    for run, (_, kind) in zip(runs, FAULTY.values(), strict=True):
        assert run.done["faults"][kind]["last_mono_ms"] / 1e3 <= run.start_s + 5


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    given = settings(port, users=5, phases={"warmup_s": 0, "measure_s": 0.5}, drain_s=0.2)
    run = run_engine(given, connected=0)
    run.assert_conserved()
    assert set(run.errors()) == {"connect_refused"}
    assert (run.sum("sent"), run.sum("unsent")) == (0, 200)


@pytest.mark.alone
def test_all_users_are_back_soon_after_a_restart() -> None:
    """Their absence is the server's: a pause is at most twice the time that it has been away."""
    users, port = 200, free_port()
    given = settings(port, users=users, phases={"warmup_s": 0.5, "measure_s": 4})
    with (
        model_server("epoll_lt", "http1", "hello", "--port", str(port)) as (server, _),
        engine(given) as node,
    ):
        node.event("hello")
        node.send(do="users", target=users)
        node.wait(10.0, lambda e: e.get("ready") == users, "all users")
        node.send(do="start", at_mono_s=time.monotonic() + 0.1, position=0, of=1)
        node.event("second", 5.0, k=0, phase="warmup")
        asked_s = time.monotonic()
        server.process.send_signal(signal.SIGUSR1)
        node.wait(20.0, Gauge("connected", (users, 0, users)), "nobody connected, then all users")
        back_s = time.monotonic()
        node.event("done", 10.0)
        run = EngineRun(node, asked_s)
        again_s = server.named("ready")[1]["mono_ms"] / 1e3
    run.assert_conserved()
    assert {"connect_refused"} <= set(run.errors()) <= {"connect_refused", "closed", "reset", "idle_closed"}
    status_s, dial_s = 0.1, 0.1
    assert back_s - again_s <= 2 * (again_s - asked_s) + status_s + dial_s


class Gauge:
    """Whether a gauge of the engine's status has had these values, one after the other."""

    def __init__(self, name: str, values: tuple[int, ...]) -> None:
        self.name, self.values = name, list(values)

    def __call__(self, event: dict[str, Any]) -> bool:
        if event["event"] == "status" and self.values and event[self.name] == self.values[0]:
            del self.values[0]
        return not self.values


def test_silence_ends_in_timeouts_and_what_is_left_is_unanswered() -> None:
    with scripted_server(silent) as port:
        given = settings(port, phases={"warmup_s": 0, "measure_s": 1}, request_timeout_s=0.8, drain_s=0.5)
        run = run_engine(given)
    run.assert_conserved()
    assert run.sum("answered") == 0
    assert set(run.errors()) <= {"timeout", "unanswered", "closed"}
    assert run.errors()["timeout"] >= 20
    waited = [
        us
        for s in run.seconds.values()
        for us, n in zip(*s["service_censored"], strict=True)
        for _ in range(n)
    ]
    assert sum(us >= 0.799e6 for us in waited) >= run.errors()["timeout"], "as long as the request timeout"
    assert run.sum("intended") == 400


def test_an_idle_connection_that_the_server_closes_is_replaced() -> None:
    first = iter([True])

    def serve(connection: socket.socket) -> None:
        if next(first, False):
            connection.close()
        else:
            answering()(connection)

    with scripted_server(serve) as port:
        run = run_engine(settings(port, load={"executor": "constant-arrival-rate", "rate_per_s": 50}))
    run.assert_conserved()
    assert run.errors() == {"idle_closed": 1}
    assert (run.sum("connects"), run.done["connected"]) == (21, 20)


def test_connections_that_the_server_closes_after_an_answer_are_replaced() -> None:
    with scripted_server(dying(http1.response(200, HELLO, keep_alive=False))) as port:
        run = run_engine(settings(port))
    run.assert_conserved()
    assert run.errors() == {}
    assert run.sum("answered") == 200
    assert run.sum("connects") >= 200


def test_connects_that_hang_are_counted_and_the_load_still_ends() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        phases = {"warmup_s": 0, "measure_s": 0.8}
        given = settings(port, users=10, connect_deadline_s=0.3, phases=phases, drain_s=0.3)
        run = run_engine(given, connected=1)
    run.assert_conserved()
    assert run.errors()["connect_timeout"] >= 5


def test_a_request_that_does_not_fit_the_socket_buffer_arrives_whole() -> None:
    received: list[int] = []

    def serve(connection: socket.socket) -> None:
        time.sleep(0.1)
        request = http1.RequestParser(1 << 24)
        while not (found := request.feed(connection.recv(1 << 16))):
            pass
        received.append(len(found[0].body))
        connection.sendall(ANSWER)

    given = settings(0, users=1, load={"executor": "constant-arrival-rate", "rate_per_s": 1})
    with scripted_server(serve) as port:
        run = one_big_request(given | {"target": {"host": "127.0.0.1", "port": port}})
    assert received == [8 << 20]
    assert run == {"answered": 1, "failed": 0}


def one_big_request(given: dict[str, Any]) -> dict[str, int]:
    """Send 8 MiB by an engine in this process."""
    from swarm.connection import Dialler
    from swarm.engine import Engine
    from swarm.exchange.http1 import Http1

    exchange = Http1("hello", "server")
    exchange.request = http1.request("POST", "/", "server", body=bytes(8 << 20))
    dialler = Dialler("127.0.0.1", given["target"]["port"], "tcp")
    lab = Engine(exchange, dialler, spawn_rate_per_s=100, connect_deadline_s=3, request_timeout_s=5)
    lab.pool.users = 1
    deadline_s = time.monotonic() + HANGS_S
    while not lab.pool.open:
        lab.run_once()
        assert time.monotonic() < deadline_s
    second = lab.seconds.at(time.monotonic())
    (connection,) = lab.pool.by_fd.values()
    lab.send(connection, time.monotonic(), second)
    while second.answered + second.failed == 0:
        lab.run_once()
        assert time.monotonic() < deadline_s
    lab.pool.close(connection)
    return {"answered": second.answered, "failed": second.failed}


# A process of its own: in the engine's, each would wait for the other's turn with the interpreter. It says
# its port and, when its input ends, for how long it truly held answers back: the median, in seconds.
REFERENCE = """
import socket, sys, threading, time
delay_s, answer, held = float(sys.argv[1]), sys.argv[2].encode(), []
listener = socket.create_server(("127.0.0.1", 0))
def serve(connection, delayed):
    while connection.recv(4096):
        if delayed:
            began_s = time.monotonic()
            time.sleep(delay_s)
            held.append(time.monotonic() - began_s)
        connection.sendall(answer)
def accept():
    delayed = False
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=serve, args=(connection, delayed), daemon=True).start()
        delayed = not delayed
threading.Thread(target=accept, daemon=True).start()
print(listener.getsockname()[1], flush=True)
sys.stdin.read()
print(sorted(held)[len(held) // 2], flush=True)
"""


@pytest.mark.alone
@pytest.mark.parametrize("delay_s", [0.005, 0.02, 0.1])
def test_known_delays_are_recovered_within_a_hundredth_or_50_us(delay_s: float) -> None:
    """Every other connection is delayed; what both share, the way there and back, cancels out."""
    load = {"executor": "constant-arrival-rate", "rate_per_s": 200}
    with subprocess.Popen(
        [sys.executable, "-c", REFERENCE, str(delay_s), ANSWER.decode()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        run = run_engine(settings(port, users=40, load=load, phases={"warmup_s": 0, "measure_s": 2}))
        said, _ = server.communicate(timeout=5.0)
    run.assert_conserved()
    service = run.counts("service")
    quick, slow = quantile_us(service, 0.25), quantile_us(service, 0.75)
    assert quick is not None
    assert slow is not None
    assert slow - quick == pytest.approx(float(said) * 1e6, rel=0.01, abs=50)


@pytest.mark.alone
def test_a_stall_shows_in_response_times_and_not_in_lateness_alone() -> None:
    """One connection, a server that stands still once: those meant for the pause waited for it."""
    stall_s = 0.5
    once = [stall_s]

    def serve(connection: socket.socket) -> None:
        for _ in range(60):
            connection.recv(4096)
            connection.sendall(ANSWER)
        while connection.recv(4096):
            time.sleep(once.pop() if once else 0)
            connection.sendall(ANSWER)

    given = settings(
        0,
        users=1,
        phases={"warmup_s": 0, "measure_s": 2},
        load={"executor": "constant-arrival-rate", "rate_per_s": 100},
    )
    with scripted_server(serve) as port:
        run = run_engine(given | {"target": {"host": "127.0.0.1", "port": port}})
    run.assert_conserved()
    response, service = run.counts("response"), run.counts("service")
    slow = {key: n for key, n in response.items() if key > 50_000}
    assert sum(slow.values()) == pytest.approx(45, abs=3)  # 100 a second, 0.45 s of them
    assert sum(n for key, n in service.items() if key > 50_000) == 1
    assert max(response) == pytest.approx(stall_s * 1e6, rel=0.05)


def ends_with_its_standard_input(deadline_s: float) -> None:
    with model_server("epoll_lt", "http1", "hello") as (_, port), engine(settings(port)) as node:
        node.event("hello")
        node.send(do="users", target=20)
        node.wait(HANGS_S, lambda e: e.get("connected") == 20, "20 connections")
        assert node.process.stdin is not None
        node.process.stdin.close()
        assert node.exit_code(deadline_s) == 0


def test_the_engine_ends_with_its_standard_input() -> None:
    ends_with_its_standard_input(HANGS_S)


@pytest.mark.alone
def test_the_engine_ends_within_two_seconds_of_its_standard_input() -> None:
    ends_with_its_standard_input(2.0)


def test_a_second_that_a_late_answer_changed_is_reported_again() -> None:
    with scripted_server(answering(wait_s=lambda: 0.5)) as port:
        given = settings(port, users=250)
        with engine(given) as node:
            node.event("hello")
            run = drive(node, given)
    run.assert_conserved()
    reported = [s["answered"] for s in node.named("second") if (s["k"], s["phase"]) == (0, "warmup")]
    assert reported[0] == 0
    assert reported[-1] == 80


def test_an_engine_that_is_stopped_counts_the_time_as_lost() -> None:
    """SIGSTOP, as a busy host or a debugger would: between the looks at the clock nothing runs."""
    with model_server("epoll_lt", "http1", "sleep:20ms") as (_, port):
        closed = settings(
            port, handler="sleep:20ms", load={"executor": "constant-users"},
            phases={"warmup_s": 0.5, "measure_s": 3.0},
        )  # fmt: skip
        with engine(closed) as node:
            stopper = threading.Thread(target=stop_while_it_measures, args=(node, stopped := []))
            stopper.start()
            try:
                run = drive(node, closed)
            finally:
                stopper.join(HANGS_S)
    lost_s = sum(s["lost_s"] for (_, phase), s in run.seconds.items() if phase != "spawn")
    assert len(stopped) == STOPS
    assert lost_s >= sum(stopped) - STOPS * 0.015, "it may have asked to wait for 10 ms of each"


STOPS, STOP_S = 5, 0.15


def stop_while_it_measures(node: Node, stopped: list[float]) -> None:
    """Stop the process again and again once it has answered; note for how long each time, at least."""
    node.wait(HANGS_S, lambda e: e["event"] == "status" and e["answered"] > 0, "answers")
    for _ in range(STOPS):
        node.process.send_signal(signal.SIGSTOP)
        stopped_s = time.monotonic()
        time.sleep(STOP_S)
        stopped.append(time.monotonic() - stopped_s)
        node.process.send_signal(signal.SIGCONT)
        time.sleep(STOP_S)
