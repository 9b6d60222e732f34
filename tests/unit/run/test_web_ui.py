"""Locust's page from this host: the forwarder, and what a topology becomes."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lab.common.errors import HostCannot
from lab.plan.node_settings import Address, SwarmSettings
from lab.plan.topology import Node, Topology
from lab.run.web_ui import Forwarder, ServedUi
from lab.scenario.load import Load
from lab.scenario.swarm import Swarm
from tests.support.runtimes import until

WAIT_S = 5.0


@contextmanager
def shouting() -> Iterator[tuple[str, int]]:
    """A server that reads to the end of the stream, then says it back in capitals."""

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                said = everything(connection)
                connection.sendall(said.upper())

    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(WAIT_S)


@contextmanager
def forwarder() -> Iterator[Forwarder]:
    one = Forwarder()
    try:
        yield one
    finally:
        one.close()


def everything(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


def port(url: str) -> int:
    return int(url.rstrip("/").rpartition(":")[2])


def ask(url: str, text: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port(url)), WAIT_S) as connection:
        connection.sendall(text)
        connection.shutdown(socket.SHUT_WR)
        return everything(connection)


def test_bytes_and_ends_pass_both_ways() -> None:
    with shouting() as address, forwarder() as one:
        one.target = address
        assert ask(one.url, b"x" * 1_000_000) == b"X" * 1_000_000


def test_without_a_target_a_connection_is_closed_and_afterwards_refused() -> None:
    with forwarder() as one, socket.create_connection(("127.0.0.1", port(one.url)), WAIT_S) as connection:
        assert connection.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port(one.url)), WAIT_S)


def test_closing_ends_connections_that_are_open() -> None:
    with shouting() as address, forwarder() as one:
        one.target = address
        with socket.create_connection(("127.0.0.1", port(one.url)), WAIT_S) as connection:
            connection.sendall(b"x")
            until(lambda: one._open)
            one.close()
            assert everything(connection) in (b"", b"X")


SWARM = Swarm(users=1, workers=1, load=Load(executor="constant-users", think_time=0.0))
SETTINGS = SwarmSettings(Address("server", 9102), Address("master", 5557), SWARM, "hello", 1, 0, 120)
TOPOLOGY = Topology(
    run="r",
    trial="t/1",
    nodes=(Node("master", "master", "swarm", settings=SETTINGS), Node("server", "server", "server")),
    networks=(),
)


class Deployment:
    """A master that is ready at an address."""

    def __init__(self, host: str) -> None:
        self.host = host

    def wait_event(self, *_: Any) -> dict[str, Any]:
        return {}

    def address(self, *_: Any) -> str:
        return self.host


def page_of(topology: Topology) -> dict[str, Any]:
    """What its master is told of the page."""
    told: dict[str, Any] = json.loads(topology.node("master").environment["LAB_SWARM"])["ui"]
    return told


def test_only_the_master_serves_the_page_and_a_password_is_its_own_each_run() -> None:
    passwords = set()
    for _ in range(2):
        served = ServedUi(print, isolated=True).added(TOPOLOGY)
        assert served.node("server") == TOPOLOGY.node("server")
        ui = page_of(served)
        assert ui["port"] == 8089
        passwords.add(ui["password"])
    assert len(passwords) == 2
    assert TOPOLOGY.node("master").settings == SETTINGS


def test_a_plain_process_serves_it_on_the_loopback_only() -> None:
    ui = page_of(ServedUi(print, isolated=False).added(TOPOLOGY))
    assert ui["host"] == "127.0.0.1"


def test_a_master_that_cannot_be_reached_is_said() -> None:
    with ServedUi(print, isolated=False) as page:
        page.added(TOPOLOGY)  # a port that nobody listens on
        with (
            pytest.raises(HostCannot, match=r"--ui: the master at 127\.0\.0\.1.*Docker Desktop"),
            page.shown(Deployment("127.0.0.1")),  # type: ignore[arg-type]
        ):
            pass
