"""Ends of a flow between two namespaces: numbered datagrams with times, or one bulk TCP transfer.

Times are CLOCK_MONOTONIC, which both ends share. A receiver prints `ready`, then one JSON line at its end.
"""

from __future__ import annotations

import hashlib
import json
import socket
import struct
import sys
import time

PORT = 9102
SO_RCVBUFFORCE = 33
STAMP = struct.Struct("!Iq")


def send(host: str, count: int, interval_us: int, size: int) -> None:
    """`count` datagrams of `size` bytes of payload, one each `interval_us`; an empty one says the end."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 << 20)
        start = time.monotonic_ns()
        for number in range(count):
            while time.monotonic_ns() < start + number * interval_us * 1000:
                time.sleep(interval_us / 4e6)
            stamp = STAMP.pack(number, time.monotonic_ns())
            out.sendto(stamp.ljust(size, b"\0"), (host, PORT))


def receive(idle_s: float) -> None:
    """Until nothing has come for `idle_s` since the first: numbers in order of arrival, delays, times."""
    numbers, delays_ms, times = [], [], []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as inbox:
        inbox.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 32 << 20)
        inbox.bind(("0.0.0.0", PORT))
        print("ready", flush=True)
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
            pass  # the end of the flow, as said above
    print(json.dumps({"numbers": numbers, "delays_ms": delays_ms, "times": times}))


def bulk_send(host: str, size: int) -> None:
    """`size` pseudo-random bytes over TCP."""
    data = hashlib.shake_128(b"io-model-lab").digest(size)
    with socket.create_connection((host, PORT), timeout=30) as out:
        out.sendall(data)
        out.shutdown(socket.SHUT_WR)
        out.recv(1)


def bulk_receive() -> None:
    """Take one TCP transfer: bytes, their digest, seconds."""
    with socket.create_server(("0.0.0.0", PORT)) as listener:
        print("ready", flush=True)
        listener.settimeout(20)
        connection, _ = listener.accept()
    digest, size, start = hashlib.sha256(), 0, time.monotonic()
    with connection:
        connection.settimeout(30)
        while data := connection.recv(1 << 16):
            digest.update(data)
            size += len(data)
    took = time.monotonic() - start
    expected = hashlib.sha256(hashlib.shake_128(b"io-model-lab").digest(size)).hexdigest()
    print(json.dumps({"bytes": size, "intact": digest.hexdigest() == expected, "seconds": took}))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["send", host, count, interval_us, size]:
            send(host, int(count), int(interval_us), int(size))
        case ["receive", idle_s]:
            receive(float(idle_s))
        case ["bulk-send", host, size]:
            bulk_send(host, int(size))
        case ["bulk-receive"]:
            bulk_receive()
        case _:
            sys.exit("send HOST COUNT INTERVAL_US SIZE | receive IDLE_S | bulk-send HOST SIZE | bulk-receive")
