"""`--ui`: Locust's web UI, reached from this host.

A container on an internal network cannot publish a port, so a forwarder on the loopback relays connections to
the master. The password is made for the run and goes to the terminal and the master's environment, into no
file. One URL is valid for the whole run; between trials it closes connections.
"""

from __future__ import annotations

import secrets
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace

from lab.common.errors import HostCannot
from lab.common.notify import Notify
from lab.plan.node_settings import SwarmSettings, WebUi
from lab.plan.topology import CONTROL, Node, Topology
from lab.runtime import Deployment

USER = "lab"
PORT = 8089  # Locust's own
READY_S = 60.0
CONNECT_S = 3.0
CHUNK_BYTES = 65536
Address = tuple[str, int]


class Forwarder:
    """A free port of 127.0.0.1 that relays connections to `target`; while that is None it closes them."""

    def __init__(self) -> None:
        self.target: Address | None = None
        self._open: set[socket.socket] = set()
        forwarder = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                forwarder._forward(self.request)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads, self._server.block_on_close = True, False
        self._thread = threading.Thread(target=self._server.serve_forever, name="page", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The address at which it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/"

    def close(self) -> None:
        """Stop listening and close all connections. It may be called again."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        for one in list(self._open):
            with suppress(OSError):  # it has just ended
                one.shutdown(socket.SHUT_RDWR)

    def _forward(self, client: socket.socket) -> None:
        if self.target is None:
            return
        with suppress(OSError), socket.create_connection(self.target, CONNECT_S) as master:
            master.settimeout(None)
            ends = {client, master}
            self._open |= ends
            try:
                back = threading.Thread(target=_pump, args=(master, client), daemon=True)
                back.start()
                _pump(client, master)
                back.join()
            finally:
                self._open -= ends


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Relay bytes until the end of `source`, then shut down `sink` for writing."""
    with suppress(OSError):  # either side may disappear: the other then sees the end of the stream
        while data := source.recv(CHUNK_BYTES):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


class ServedUi:
    """The web UIs of all masters of a run, each behind a forwarder of its own."""

    def __init__(self, announce: Notify, *, isolated: bool) -> None:
        """Prepare a password. Masters that are not `isolated` share this host's ports and loopback."""
        self._announce, self._isolated = announce, isolated
        self._password = secrets.token_urlsafe(12)
        self._stack = ExitStack()
        self._forwarders: dict[str, Forwarder] = {}
        self._targets: dict[str, int] = {}

    def __enter__(self) -> ServedUi:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def added(self, topology: Topology) -> Topology:
        """Return the topology with masters that serve the web UI."""
        return replace(topology, nodes=tuple(self._with_page(node) for node in topology.nodes))

    @contextmanager
    def shown(self, deployment: Deployment) -> Iterator[None]:
        """Make the web UI available inside the `with`. Raises HostCannot if a master is unreachable."""
        for master, port in self._targets.items():
            deployment.wait_event(master, "ready", READY_S)
            target = (deployment.address(master, CONTROL), port)
            _reach(target)
            if master in self._forwarders:
                self._forwarders[master].target = target
            else:
                self._open(master, target)
        try:
            yield
        finally:
            for forwarder in self._forwarders.values():
                forwarder.target = None

    def _open(self, master: str, target: Address) -> None:
        forwarder = self._forwarders[master] = Forwarder()
        self._stack.callback(forwarder.close)
        forwarder.target = target  # before the line is printed: its reader may connect at once
        whose = "" if master == "master" else f" of {master}"
        self._announce(f"Locust's web UI{whose}: {forwarder.url} user {USER} password {self._password}")

    def _with_page(self, node: Node) -> Node:
        if not isinstance(node.settings, SwarmSettings) or node.role != "master":
            return node
        port = self._targets[node.name] = PORT if self._isolated else _free_port()
        host = "0.0.0.0" if self._isolated else "127.0.0.1"  # a container is on internal networks only
        ui = WebUi(host, port, self._password)
        return replace(node, settings=replace(node.settings, ui=ui))


class NoUi:
    """No web UI was asked for."""

    def added(self, topology: Topology) -> Topology:
        """Return the topology unchanged."""
        return topology

    @contextmanager
    def shown(self, deployment: Deployment) -> Iterator[None]:
        """Do nothing."""
        yield


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _reach(target: Address) -> None:
    try:
        socket.create_connection(target, CONNECT_S).close()
    except OSError as error:
        raise HostCannot(
            f"--ui: the master at {target[0]}:{target[1]} is unreachable ({error}): this host must be the "
            "engine's own to reach containers; it is not where the engine runs in a virtual machine (Docker "
            "Desktop) or elsewhere; run without --ui"
        ) from error
