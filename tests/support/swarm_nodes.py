"""Nodes for the swarm's tests: processes that print JSON lines, and servers that answer as a test wants."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from hdrh.histogram import HdrHistogram
from swarm.histogram import Counts, merge, unpack

from testbed.processes import environment
from tests.support.runtimes import HANGS_S

Event = dict[str, Any]


class Node:
    """A process whose standard output is read line by line."""

    def __init__(self, arguments: Sequence[str], settings: Mapping[str, Any] | None = None) -> None:
        more = {} if settings is None else {"LAB_SWARM": json.dumps(settings)}
        self.events: list[Event] = []
        self._news = threading.Condition()
        self._ended = False
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            env=environment(**more),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.errors = ""
        self._threads = [threading.Thread(target=self._read), threading.Thread(target=self._read_errors)]
        for thread in self._threads:
            thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.events.append(json.loads(line))
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self.errors = self.process.stderr.read().decode()

    def send(self, **command: Any) -> None:
        """Send one JSON line."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command).encode() + b"\n")
        self.process.stdin.flush()

    def wait(self, deadline_s: float, matches: Callable[[Event], bool], what: str) -> Event:
        """Return the first event that matches; fail at the deadline or when the process ends without one."""
        ends_s = time.monotonic() + deadline_s
        seen = 0
        with self._news:
            while True:
                for event in self.events[seen:]:
                    seen += 1
                    if matches(event):
                        return event
                left_s = ends_s - time.monotonic()
                assert not self._ended, f"ended without {what}: {self.errors[-2000:]}"
                assert left_s > 0, f"no {what} within {deadline_s:g} s; last: {self.events[-1:]}"
                self._news.wait(left_s)

    def event(self, name: str, deadline_s: float = 20.0, **fields: Any) -> Event:
        """Return the first event of a name that has these fields."""
        wanted = {"event": name, **fields}
        return self.wait(deadline_s, lambda e: wanted.items() <= e.items(), f"event {wanted}")

    def named(self, name: str) -> list[Event]:
        """Return all events of a name so far."""
        with self._news:
            return [event for event in self.events if event["event"] == name]

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, wait for the end, kill at the deadline; return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.exit_code(HANGS_S)

    def exit_code(self, deadline_s: float) -> int:
        """Wait for the end; kill and fail at the deadline."""
        assert self.process.stdin is not None
        try:
            return self.process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(HANGS_S)
            raise AssertionError(f"still running after {deadline_s:g} s: {self.process.args!r}") from None
        finally:
            self.process.stdin.close()
            for thread in self._threads:
                thread.join(HANGS_S)
            for stream in (self.process.stdout, self.process.stderr):
                assert stream is not None
                stream.close()


@contextmanager
def model_server(model: str, wire: str, handler: str, *more: str) -> Iterator[tuple[Node, int]]:
    """A real server of the lab; yields it and its port."""
    flags = ["--wire", wire, "--handler", handler, "--host", "127.0.0.1", "--port", "0", *more]
    node = Node(["-m", "iomodels", model, *flags])
    try:
        yield node, int(node.event("ready")["port"])
    finally:
        node.end()


@contextmanager
def scripted_server(serve: Callable[[socket.socket], None], *, backlog: int = 128) -> Iterator[int]:
    """A server that hands each connection to `serve`, in a thread of its own; yields its port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=backlog)
    accepted: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:  # shut down below
                return
            accepted.append(connection)
            threading.Thread(target=guarded, args=(connection,), daemon=True).start()

    def guarded(connection: socket.socket) -> None:
        try:
            serve(connection)
        except OSError:  # the client has gone: the test's own doing
            connection.close()

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(HANGS_S)
        listener.close()
        for connection in accepted:
            connection.close()


def settings(port: int, **changes: Any) -> dict[str, Any]:
    """`LAB_SWARM` for a short open load."""
    return {
        "target": {"host": "127.0.0.1", "port": port},
        "wire": "http1",
        "handler": "hello",
        "users": 20,
        "spawn_rate_per_s": 2000,
        "workers": 1,
        "worker_index": 0,
        "seed": 7,
        "load": {"executor": "constant-arrival-rate", "rate_per_s": 400},
        "phases": {"warmup_s": 0.2, "measure_s": 0.3},
        "connect_deadline_s": 3,
        "request_timeout_s": 2,
        "drain_s": 2,
        "master": {"host": "127.0.0.1", "port": free_port()},
    } | changes


def free_port() -> int:
    """Return a port that was free a moment ago, below those that other tests' connects are given (ip(7))."""
    while True:
        port = random.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class EngineRun:
    """What one engine alone reported of one load."""

    def __init__(self, node: Node, start_s: float) -> None:
        self.start_s = start_s
        self.done = node.named("done")[0]
        self.seconds = {(s["k"], s["phase"]): s for s in node.named("second")}
        self.node = node

    def sum(self, key: str, phase: str | None = None) -> int:
        """Return the sum of a counter over a phase, or over all."""
        return sum(s[key] for (_, p), s in self.seconds.items() if phase in (None, p))

    def errors(self, phase: str | None = None) -> dict[str, int]:
        """Return the number of errors by kind, over a phase or over all."""
        result: dict[str, int] = {}
        for (_, p), second in self.seconds.items():
            if phase in (None, p):
                for kind, count in second["errors"].items():
                    result[kind] = result.get(kind, 0) + count
        return result

    def counts(self, name: str, phase: str = "measure") -> Counts:
        """Merge a histogram over a phase."""
        result: Counts = {}
        for (_, p), second in self.seconds.items():
            if p == phase:
                merge(result, unpack(second[name]))
        return result

    def assert_conserved(self) -> None:
        """Assert that each request has its outcome: intended = sent + unsent, sent = answered + failed."""
        for key, s in self.seconds.items():
            assert s["intended"] == s["sent"] + s["unsent"], key
            assert s["sent"] == s["answered"] + s["failed"], key
            assert sum(unpack(s["response"]).values()) == s["answered"], key
            assert sum(unpack(s["service"]).values()) == s["answered"], key
            assert sum(unpack(s["response_censored"]).values()) == s["failed"] + s["unsent"], key
            assert sum(unpack(s["service_censored"]).values()) == s["failed"], key
            assert sum(unpack(s["lateness"]).values()) == s["sent"], key
        for name in ("intended", "sent", "answered", "failed", "unsent"):
            assert self.done[name] == self.sum(name), name


@contextmanager
def engine(given: Mapping[str, Any]) -> Iterator[Node]:
    """One engine process, alone, with no Locust."""
    node = Node(["-m", "swarm", "engine", "0"], given)
    try:
        yield node
    finally:
        if node.process.poll() is None:
            assert node.process.stdin is not None
            node.process.stdin.close()
        node.exit_code(HANGS_S)


def run_engine(
    given: Mapping[str, Any], *, connected: int | None = None, late_s: float = HANGS_S
) -> EngineRun:
    """Ramp, load and drain one engine; wait for `connected` connections before the load."""
    with engine(given) as node:
        node.event("hello")
        return drive(node, given, connected=connected, late_s=late_s)


def drive(
    node: Node, given: Mapping[str, Any], *, connected: int | None = None, late_s: float = HANGS_S
) -> EngineRun:
    """Ramp, load and drain an engine that has said hello; it may end so much after its drain."""
    ready = given["users"] if connected is None else connected
    node.send(do="users", target=given["users"])
    node.wait(10.0, lambda e: e["event"] == "status" and e["ready"] >= ready, f"{ready} connections")
    start_s = time.monotonic() + 0.1
    node.send(do="start", at_mono_s=start_s, position=0, of=1)
    phases = given["phases"]
    node.event("done", phases["warmup_s"] + phases["measure_s"] + given["drain_s"] + late_s)
    return EngineRun(node, start_s)


class Swarm:
    """A master and its workers as processes."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.given = given
        self.master = Node(["-m", "swarm", "master"], given)
        self.workers = [
            Node(["-m", "swarm", "worker"], {**given, "worker_index": index})
            for index in range(given["workers"])
        ]

    def start(self) -> None:
        """Send SIGUSR1 when all are ready."""
        for node in (*self.workers, self.master):
            node.event("ready", 30.0)
        self.master.process.send_signal(signal.SIGUSR1)

    def result(self, deadline_s: float, end_s: float = HANGS_S) -> Event:
        """Wait for the result, then for a clean end of each node."""
        result = self.master.event("result", deadline_s)
        for node in (self.master, *self.workers):
            assert node.exit_code(end_s) == 0, node.errors
        return result

    def close(self) -> None:
        """End whatever still runs."""
        for node in (*self.workers, self.master):
            node.end(signal.SIGKILL)


@contextmanager
def swarm(given: Mapping[str, Any]) -> Iterator[Swarm]:
    """A master and its workers, gone at the end."""
    nodes = Swarm(given)
    try:
        yield nodes
    finally:
        nodes.close()


def decode(encoded: str) -> HdrHistogram:
    """Return a histogram of the contract."""
    return HdrHistogram.decode(encoded)
