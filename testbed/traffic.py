"""The ends of flows between two namespaces: numbered datagrams with times, or one bulk TCP transfer.

There is one process per node. It reads one JSON array a line, `[function, argument…]`, and answers with JSON
lines, first `"ready"`. Times are of CLOCK_MONOTONIC, which all nodes share.
"""

from __future__ import annotations

import hashlib
import json
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import Any

PORT = 9102
STAMP = struct.Struct("!Iq")
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33


def say(answer: Any) -> None:
    """Print one JSON line."""
    print(json.dumps(answer), flush=True)


def send(host: str, count: int, interval_us: int, size: int) -> None:
    """Send `count` datagrams with `size` bytes of payload, one each `interval_us`."""
    say("ready")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 << 20)
        start = time.monotonic_ns()
        for number in range(count):
            wait_ns = start + number * interval_us * 1000 - time.monotonic_ns()
            if wait_ns > 0:
                time.sleep(wait_ns / 1e9)
            stamp = STAMP.pack(number, time.monotonic_ns())
            out.sendto(stamp.ljust(size, b"\0"), (host, PORT))
    say("sent")


def receive(idle_s: float) -> None:
    """Receive until nothing arrives for `idle_s`; answer numbers in order of arrival, delays, times."""
    numbers, delays_ms, times = [], [], []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as inbox:
        inbox.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 32 << 20)
        inbox.bind(("0.0.0.0", PORT))
        say("ready")
        inbox.settimeout(10)
        try:
            while True:
                data = inbox.recv(65536)
                now = time.monotonic_ns()
                number, sent = STAMP.unpack_from(data)
                numbers.append(number)
                delays_ms.append((now - sent) / 1e6)
                times.append(now / 1e9)
                inbox.settimeout(idle_s)
        except TimeoutError:
            pass  # the end of the flow
    say({"numbers": numbers, "delays_ms": delays_ms, "times": times})


def flood(host: str, packets_per_s: int, count: int) -> None:
    """Send `count` small datagrams in bursts, one burst a millisecond."""
    burst = max(packets_per_s // 1000, 1)
    say("ready")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 64 << 20)
        out.connect((host, PORT))
        send, payload = out.send, bytes(64)
        start, start_cpu, sent = time.monotonic(), time.process_time(), 0
        while sent < count:
            time.sleep(max(start + sent / packets_per_s - time.monotonic(), 0))
            for _ in range(burst):
                send(payload)
            sent += burst
        seconds, cpu_s = time.monotonic() - start, time.process_time() - start_cpu
    say({"sent": sent, "seconds": seconds, "cpu_s": cpu_s})


def sink() -> None:
    """Keep a bound socket that nobody reads until the next line: receiving then costs no process time."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as inbox:
        inbox.bind(("0.0.0.0", PORT))
        say("ready")
        sys.stdin.readline()
    say("ended")


def bulk_send(host: str, size: int) -> None:
    """Send `size` pseudo-random bytes over TCP."""
    data = _pattern(size)
    say("ready")
    with socket.create_connection((host, PORT), timeout=30) as out:
        out.sendall(data)
        out.shutdown(socket.SHUT_WR)
        out.recv(1)
    say("sent")


def bulk_receive() -> None:
    """Receive one TCP transfer; answer its bytes, whether they are intact, and its seconds."""
    with socket.create_server(("0.0.0.0", PORT)) as listener:
        say("ready")
        listener.settimeout(20)
        connection, _ = listener.accept()
    received, start = bytearray(), time.monotonic()
    with connection:
        connection.settimeout(30)
        while data := connection.recv(1 << 16):
            received += data
    seconds = time.monotonic() - start
    say({"bytes": len(received), "intact": bytes(received) == _pattern(len(received)), "seconds": seconds})


def _pattern(size: int) -> bytes:
    return hashlib.shake_128(b"io-model-lab").digest(size)


def main() -> None:
    """Serve commands until the input ends."""
    ends: list[Callable[..., None]] = [send, receive, bulk_send, bulk_receive, flood, sink]
    functions = {end.__name__: end for end in ends}
    while line := sys.stdin.readline():  # not by iteration, which reads ahead: `sink` reads a line too
        what, *arguments = json.loads(line)
        functions[what](*arguments)


if __name__ == "__main__":
    main()
