"""Start the server of one model as a process, and connect clients to it, for the contract tests."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from iomodels import manifest
from wire import echo, http1

from testbed.processes import environment, model_command

DEADLINE_S = 15.0
MODELS = manifest.load()
TCP_MODELS = [name for name, model in MODELS.items() if "tcp" in model.transports]
UDP_MODELS = [name for name, model in MODELS.items() if "udp" in model.transports]

Event = dict[str, Any]


def entry(model: str) -> dict[str, Any]:
    """Return the complete manifest entry of a model."""
    return manifest.entries()[model]


def served_at_once(model: str) -> int:
    """Return how many connections the model serves at a time; 1000 if it has no known limit."""
    limit: int = entry(model).get("limits", {}).get("served_at_once", 1000)
    return limit


def runs_out_of_descriptors(model: str, limit: int) -> bool:
    """Return whether the model accepts more connections than it has descriptors, with so many of them."""
    return bool(entry(model)["needs"]["descriptors_per_connection"]) and served_at_once(model) > limit


class Server:
    """A running server process, with a limit of descriptors (RLIMIT_NOFILE) if one is given.

    Attributes:
        ready: the ``ready`` event.
        events: all events so far, in order.
    """

    def __init__(self, model: str, *flags: str, descriptors: int | None = None) -> None:
        command = model_command(model, *flags)
        if descriptors is not None:
            command = ["prlimit", f"--nofile={descriptors}:{descriptors}", *command]
        self.process = subprocess.Popen(
            command,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.events: list[Event] = []
        self.errors = b""
        self._new_events: queue.Queue[Event] = queue.Queue()
        self._readers = [threading.Thread(target=read) for read in (self._read_events, self._read_errors)]
        for reader in self._readers:
            reader.start()
        self.ready = self.wait_for(lambda event: event["event"] == "ready", "ready")
        self.port: int = self.ready["port"]

    def _read_events(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event = json.loads(line)
            self.events.append(event)
            self._new_events.put(event)

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self.errors = self.process.stderr.read()

    def wait_for(self, matches: Callable[[Event], bool], what: str) -> Event:
        """Return the next event that matches; fail with the server's errors at the deadline."""
        end = time.monotonic() + DEADLINE_S
        while (left := end - time.monotonic()) > 0:
            try:
                event = self._new_events.get(timeout=min(left, 0.2))
            except queue.Empty:
                if self.process.poll() is not None and self._new_events.empty():
                    break
                continue
            if matches(event):
                return event
        self.kill()
        raise AssertionError(f"no {what} from the server: {self.errors.decode()[-2000:]}")

    def stats_when(self, matches: Callable[[Event], bool], what: str) -> Event:
        """Return the next `stats` event that matches."""
        return self.wait_for(lambda event: event["event"] == "stats" and matches(event), what)

    def terminate(self) -> tuple[Event, float]:
        """Stop it by SIGTERM; return the `stopped` event and the time in seconds. The exit code must be 0."""
        begin = time.monotonic()
        self.process.terminate()
        try:
            code = self.process.wait(timeout=DEADLINE_S)
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise AssertionError(f"still running {DEADLINE_S} s after SIGTERM: {self.errors!r}") from error
        seconds = time.monotonic() - begin
        self._join()
        assert code == 0, f"exit code {code}: {self.errors.decode()[-2000:]}"
        assert self.errors == b"", self.errors.decode()[-2000:]
        assert self.events[-1]["event"] == "stopped"
        return self.events[-1], seconds

    def kill(self) -> None:
        """Kill the server and all processes that it started."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:  # all have ended already
            pass
        self.process.wait(timeout=DEADLINE_S)
        self._join()

    def _join(self) -> None:
        for reader in self._readers:
            reader.join(DEADLINE_S)
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()

    def resources(self) -> tuple[int, int, int]:
        """Return the number of descriptors, threads and processes, summed over all its processes."""
        pids = self.process_ids()
        return _entries(pids, "fd"), _entries(pids, "task"), len(pids)

    def resources_fall_to(self, limit: tuple[int, int, int]) -> tuple[int, int, int]:
        """Return the resources when they are within the limit, or those at the deadline."""
        end = time.monotonic() + DEADLINE_S
        found = self.resources()
        while any(now > then for now, then in zip(found, limit, strict=True)) and time.monotonic() < end:
            time.sleep(0.05)
            found = self.resources()
        return found

    def memory_bytes(self) -> int:
        """Return the memory of all its processes; a shared page counts once in all (Pss, proc(5))."""
        return sum(_pss_bytes(pid) for pid in self.process_ids())

    def cpu_share(self, over_s: float) -> float:
        """Return the CPU share of all its processes, measured over that time (resolution 10 ms)."""
        begin, used_s = time.monotonic(), self._cpu_s()
        time.sleep(over_s)
        return (self._cpu_s() - used_s) / (time.monotonic() - begin)

    def _cpu_s(self) -> float:
        ticks = 0
        for pid in self.process_ids():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def process_ids(self) -> list[int]:
        """Return the pids of all running processes of its session."""
        pids = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
                continue
            if int(fields[3]) == self.process.pid and fields[0] != "Z":
                pids.append(int(path.parent.name))
        return pids


def _pss_bytes(pid: int) -> int:
    """Return the proportional set size of a process; 0 if it has ended meanwhile."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) * 1024


def _entries(pids: list[int], folder: str) -> int:
    """Return the number of entries in a folder of /proc/PID, summed over all pids that are running."""
    count = 0
    for pid in pids:
        try:
            count += len(list(Path(f"/proc/{pid}/{folder}").iterdir()))
        except FileNotFoundError:
            continue
    return count


@contextmanager
def serving(model: str, *flags: str, descriptors: int | None = None) -> Iterator[Server]:
    """Run a server for the duration of a block, and kill what is left of it."""
    server = Server(model, *flags, descriptors=descriptors)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.kill()


def udp_client(port: int) -> socket.socket:
    """Return a connected UDP socket with a deadline on everything."""
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.settimeout(DEADLINE_S)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    client.connect(("127.0.0.1", port))
    return client


class Client:
    """A connection on which every call has a deadline."""

    def __init__(self, port: int, *, receive_buffer_bytes: int = 0) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(DEADLINE_S)
        if receive_buffer_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self.socket.connect(("127.0.0.1", port))
        self.received_bytes = 0

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send all bytes."""
        self.socket.sendall(data)

    def shutdown_write(self) -> None:
        """End our side of the stream (shutdown(2), SHUT_WR)."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close with a reset (SO_LINGER 0, socket(7))."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()

    def receive(self) -> bytes:
        """Return the bytes that one recv(2) returns; empty at the end of the stream."""
        data = self.socket.recv(65536)
        self.received_bytes += len(data)
        return data

    def read_to_end(self) -> bytes:
        """Return all bytes up to the end of the stream."""
        pieces = []
        while data := self.receive():
            pieces.append(data)
        return b"".join(pieces)

    def responses(self, count: int, *methods: str) -> list[http1.Response]:
        """Return that many HTTP responses; give the `methods` of the requests if they are not all GET."""
        parser = http1.ResponseParser()
        for method in methods:
            parser.request_sent(method)
        found: list[http1.Response] = []
        while len(found) < count:
            data = self.receive()
            if not data:
                found += parser.eof()
                break
            found += parser.feed(data)
        assert len(found) == count, f"{len(found)} responses of {count} before the end"
        return found

    def frames(self, count: int) -> list[bytes]:
        """Return that many echo payloads."""
        parser = echo.FrameParser()
        found: list[bytes] = []
        while len(found) < count:
            data = self.receive()
            assert data, f"{len(found)} frames of {count} before the end"
            found += parser.feed(data)
        return found

    def fill(self) -> int:
        """Send echo frames without reading until send blocks; return how many were sent completely."""
        frame = echo.encode(b"x" * 60000)
        sent = 0
        self.socket.settimeout(0.4)
        try:
            while sent < 200:
                self.send(frame)
                sent += 1
        except TimeoutError:
            return sent  # expected: the server stops reading as we do not read
        finally:
            self.socket.settimeout(DEADLINE_S)
        raise AssertionError("the server took 12 MB from a client that does not read: no backpressure")
