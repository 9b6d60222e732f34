"""Loads of every executor and clients of every kind, against real servers."""

from __future__ import annotations

import base64
import socket
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from signal import SIGUSR2
from typing import Any

import pytest
from swarm.answers import HELLO
from swarm.histogram import unpack
from wire import http1

from tests.support.runtimes import HANGS_S
from tests.support.swarm_nodes import (
    EngineRun,
    Event,
    decode,
    engine,
    free_port,
    model_server,
    run_engine,
    scripted_server,
    settings,
    swarm,
)

OPEN = {"executor": "constant-arrival-rate", "rate_per_s": 400}


def test_poisson_arrivals_are_sent_and_repeat_with_their_seed() -> None:
    load = OPEN | {"arrivals": "poisson"}
    with model_server("epoll_lt", "http1", "hello") as (_, port):
        first, again = run_engine(settings(port, load=load)), run_engine(settings(port, load=load))
    for run in (first, again):
        run.assert_conserved()
        assert run.errors() == {}
    assert first.sum("sent") == again.sum("sent")
    assert first.sum("sent") == pytest.approx(200, abs=60)


def test_a_ramp_has_its_rate_in_every_second() -> None:
    load = {
        "executor": "ramping-arrival-rate",
        "start_rate_per_s": 50,
        "stages": [{"duration_s": 1, "target_per_s": 450}, {"duration_s": 0, "target_per_s": 20}],
    }
    phases = {"warmup_s": 1, "measure_s": 2}
    with model_server("epoll_lt", "http1", "hello") as (_, port):
        run = run_engine(settings(port, load=load, phases=phases))
    run.assert_conserved()
    sent = {k: s["sent"] for (k, phase), s in run.seconds.items() if phase in ("warmup", "measure")}
    assert sent == pytest.approx({0: 50, 1: 250, 2: 20}, abs=1)


def test_idle_clients_send_nothing_and_the_others_carry_the_load() -> None:
    with model_server("epoll_lt", "http1", "hello") as (server, port):
        run = run_engine(settings(port, users=200, clients={"idle_share": 0.95}))
        server.end()
        served = server.named("stopped")[-1]
    run.assert_conserved()
    assert (run.done["connected_peak"], served["open_peak"]) == (200, 200)
    assert run.sum("answered") == served["requests"] == 200


@pytest.mark.alone
def test_idle_clients_are_spread_evenly_and_never_send() -> None:
    spoke: Counter[int] = Counter()
    lock = threading.Lock()

    def serve(connection: socket.socket) -> None:
        while connection.recv(4096):
            with lock:
                spoke[connection.fileno()] += 1
            connection.sendall(http1.response(200, HELLO))

    with scripted_server(serve) as port:
        run = run_engine(settings(port, users=40, clients={"idle_share": 0.75}))
    run.assert_conserved()
    assert len(spoke) == 10
    assert max(spoke.values()) - min(spoke.values()) <= 1


@pytest.mark.parametrize("wire", ["http1", "echo"])
def test_churn_has_a_new_connection_per_request(wire: str) -> None:
    handler = "echo" if wire == "echo" else "hello"
    with model_server("epoll_lt", wire, handler) as (server, port):
        run = run_engine(settings(port, wire=wire, handler=handler, clients={"churn": True}))
        server.end()
        served = server.named("stopped")[-1]
    run.assert_conserved()
    assert run.errors() == {}
    assert run.sum("answered") == run.sum("connects") == served["accepted"] == 200


def time_wait(port: int) -> Counter[bool]:
    """Count sockets in TIME_WAIT towards and from a port: who closed first (proc(5), net/tcp)."""
    sides: Counter[bool] = Counter()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, state, *_ = line.split()
        if state == "06":
            sides[int(local[-4:], 16) == port] += port in (int(local[-4:], 16), int(remote[-4:], 16))
    return sides


def test_in_http_churn_the_server_closes_first_so_that_our_ports_are_free() -> None:
    with model_server("epoll_lt", "http1", "hello") as (_, port):
        run = run_engine(settings(port, clients={"churn": True}))
        sides = time_wait(port)
    assert run.sum("answered") == 200
    assert sides[True] > 150
    assert sides[False] == 0


def with_slow_clients(side: str) -> tuple[EngineRun, Event]:
    """Return a run of one second in which half of twenty clients are slow, and the server's last counts."""
    clients = {"slow_share": 0.5, "slow_side": side, "slow_bytes_per_s": 100}
    with model_server("epoll_lt", "http1", "hello") as (server, port):
        run = run_engine(settings(port, clients=clients, phases={"warmup_s": 0, "measure_s": 1}))
        server.end()
        return run, server.named("stopped")[-1]


@pytest.mark.parametrize("side", ["write", "read"])
def test_slow_clients_are_slow_and_the_others_are_not(side: str) -> None:
    run, served = with_slow_clients(side)
    run.assert_conserved()
    assert run.errors() == {}
    assert (run.sum("answered"), run.done["slow_ended"]) == (400, 0)
    # The swarm knows of all requests but those that its ten slow clients had in flight at the end.
    known = 400 + run.done["slow_answered"]
    assert known <= served["requests"] <= known + 10
    assert served["open_peak"] == 20


@pytest.mark.alone
def test_slow_clients_keep_their_pace() -> None:
    run, _ = with_slow_clients("write")
    assert run.done["slow_answered"] >= 10  # 35 bytes at 100 a second: one each 0.35 s


def test_connections_that_the_server_ends_on_slow_clients_are_counted() -> None:
    def serve(connection: socket.socket) -> None:
        first = connection.recv(4096)
        while first.endswith(b"\r\n\r\n") and first:
            connection.sendall(http1.response(200, HELLO))
            first = connection.recv(4096)
        connection.close()

    with scripted_server(serve) as port:
        run = run_engine(settings(port, clients={"slow_share": 0.5, "slow_bytes_per_s": 100}))
    run.assert_conserved()
    assert run.sum("answered") == 200
    assert run.done["slow_ended"] >= 10


@pytest.mark.parametrize("at_once", [False, True])
def test_a_page_is_one_request_with_named_parts(at_once: bool) -> None:
    page = {"paths": ["/", "/plaintext", "/json"], "at_once": at_once}
    load = {"executor": "constant-arrival-rate", "rate_per_s": 200}
    with model_server("epoll_lt", "http1", "file:64KiB") as (server, port):
        run = run_engine(settings(port, handler="file:64KiB", page=page, load=load))
        server.end()
        served = server.named("stopped")[-1]
    run.assert_conserved()
    assert run.errors() == {}
    assert (run.sum("answered"), served["requests"]) == (100, 300)
    parts: Counter[str] = Counter()
    for second in run.seconds.values():
        for name, packed in second["parts"].items():
            parts[name] += sum(unpack(packed).values())
    assert parts == {"/": 100, "/plaintext": 100, "/json": 100}


def test_fewer_users_means_fewer_connections() -> None:
    with model_server("epoll_lt", "http1", "hello") as (server, port), engine(settings(port)) as node:
        node.event("hello")
        for target in (20, 5, 12):
            node.send(do="users", target=target)
            node.wait(HANGS_S, lambda e, n=target: e.get("connected") == n, f"{target} connections")  # type: ignore[misc]
        server.wait(HANGS_S, lambda e: e.get("open") == 12 or e.get("closed") == 15, "15 closed")


def test_ramping_users_follow_their_stages_under_load() -> None:
    load = {
        "executor": "ramping-users",
        "think_time": {"distribution": "exponential", "mean_s": 0.05},
        "stages": [
            {"duration_s": 0, "target_users": 40},
            {"duration_s": 2.5, "target_users": 40},
            {"duration_s": 0, "target_users": 10},
            {"duration_s": 2.5, "target_users": 10},
        ],
    }
    given = settings(0, users=20, workers=2, load=load, phases={"warmup_s": 1, "measure_s": 5})
    with (
        model_server("epoll_lt", "http1", "hello") as (_, port),
        swarm(given | {"target": {"host": "127.0.0.1", "port": port}}) as nodes,
    ):
        nodes.start()
        result = nodes.result(40.0)
        connected = {second["k"]: second["connected"] for second in nodes.master.named("second")}
    assert (connected[0], connected[2], connected[5]) == (20, 40, 10)
    assert result["sent"] == result["answered"] + result["failed"]
    assert result["errors"] == {}


LOCUSTFILE = """
from locust import FastHttpUser, HttpUser, constant, task

class Slow(HttpUser):
    wait_time = constant(0.1)
    @task
    def hello(self):
        self.client.get("/plaintext")

class Fast(FastHttpUser):
    wait_time = constant(0.1)
    @task
    def hello(self):
        self.client.get("/")
    @task
    def missing(self):
        self.client.get("/missing")
"""


def of_an_ordinary_locustfile(folder: Path) -> tuple[Event, list[Event]]:
    """Return the result and the seconds of ten ordinary users, for two seconds."""
    path = folder / "my_users.py"
    path.write_text(LOCUSTFILE)
    given = settings(0, users=10, workers=2, locustfile=str(path), phases={"warmup_s": 1, "measure_s": 2})
    with (
        model_server("epoll_lt", "http1", "hello") as (_, port),
        swarm(given | {"target": {"host": "127.0.0.1", "port": port}}) as nodes,
    ):
        nodes.start()
        return nodes.result(40.0), nodes.master.named("second")


def test_an_ordinary_locustfile_gives_the_same_records(tmp_path: Path) -> None:
    result, seconds = of_an_ordinary_locustfile(tmp_path)
    assert result["timing"]["source"] == "locust users"
    assert set(result["whole"]["parts_hdr"]) == {"/plaintext", "/"}
    assert (
        result["sent"]
        == result["answered"] + result["failed"]
        == sum(second["sent"] for second in seconds if second["phase"] == "measure")
    )
    assert 10 <= result["sent"] <= 10 / 0.1 * 2 + 10  # each user at least once, none more often than it may
    assert set(result["errors"]) == {"wrong_answer"}
    assert decode(result["response_hdr"]).get_total_count() == result["answered"]
    whole = result["whole"]
    assert whole["completed"] == whole["answered"]
    assert {result[f"{what}_{end}"] for what in ("in_flight", "queued") for end in ("start", "end")} == {None}
    assert result["locust"] == {"requests": whole["sent"], "failures": whole["failed"]}


@pytest.mark.alone
def test_an_ordinary_locustfile_sends_more_than_sixty_requests(tmp_path: Path) -> None:
    result, _ = of_an_ordinary_locustfile(tmp_path)
    assert 60 < result["sent"] <= 10 / 0.1 * 2 + 10


def page_of(port: int, password: str) -> int:
    """Return the status of Locust's page."""
    token = base64.b64encode(f"me:{password}".encode()).decode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/", headers={"Authorization": f"Basic {token}"})
    try:
        with urllib.request.urlopen(request, timeout=HANGS_S) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_the_page_needs_its_password_and_the_barrier_its_signal() -> None:
    page = free_port()
    ui = {"port": page, "password": "sesame"}
    given = settings(0, barrier=True, ui=ui, phases={"warmup_s": 0, "measure_s": 1})
    with (
        model_server("epoll_lt", "http1", "hello") as (_, port),
        swarm(given | {"target": {"host": "127.0.0.1", "port": port}}) as nodes,
    ):
        nodes.start()
        nodes.master.event("phase", phase="held")
        assert [page_of(page, password) for password in ("guess", "", "sesame")] == [401, 401, 200]
        began_ms = time.monotonic() * 1e3
        nodes.master.process.send_signal(SIGUSR2)
        result: dict[str, Any] = nodes.result(30.0)
    assert result["answered"] == 400
    assert result["window_mono_ms"][0] > began_ms
