"""Measure the round-trip time to a host with ICMP echoes from an unprivileged socket.

ICMP datagram sockets need no capability if `net.ipv4.ping_group_range` includes the caller's group, as in
every Docker container. Otherwise a TCP connect to a closed port takes one round trip as well: a reset answers
its SYN. (UDP to a closed port is answered too, but the kernel limits those answers to one a second.) Sources:
icmp(7), tcp(7).
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import struct
import time
from collections.abc import Mapping

_ECHO = struct.Struct("!BBHHH")
_ECHO_REQUEST, _ECHO_REPLY = 8, 0
_CLOSED_PORT = 9  # discard: none of our nodes listens there
_PAYLOAD = b"io-model-lab"


def probe(host: str, count: int, interval_ms: float, timeout_ms: float = 1000) -> dict[str, object]:
    """Send `count` echoes, one each `interval_ms`; wait for the last replies at most `timeout_ms` longer.

    Returns:
        `rtt_ms` (`min`, `p50`, `mean`, `p99`, `max`, and `samples` in order), `sent`, `lost`, and `by`:
        ``icmp`` or ``tcp reset``.

    Raises:
        OSError: The host cannot be reached: no route, no such name.
    """
    address = socket.gethostbyname(host)
    try:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
    except PermissionError:
        samples, by = _tcp_reset_round_trips(address, count, interval_ms, timeout_ms), "tcp reset"
    else:
        with sock:
            samples, by = _icmp_round_trips(sock, address, count, interval_ms, timeout_ms), "icmp"
    return {"rtt_ms": summary(list(samples.values())), "sent": count, "lost": count - len(samples), "by": by}


def summary(samples_ms: list[float]) -> dict[str, object]:
    """Return `min`, `mean`, `max` and quantiles by nearest rank, None without samples; and the samples."""
    if not samples_ms:
        return dict.fromkeys(("min", "p50", "mean", "p99", "max")) | {"samples": []}
    ranked = sorted(samples_ms)
    last = len(ranked) - 1
    return {
        "min": ranked[0],
        "p50": ranked[round(0.50 * last)],
        "mean": sum(ranked) / len(ranked),
        "p99": ranked[round(0.99 * last)],
        "max": ranked[-1],
        "samples": [round(sample, 4) for sample in samples_ms],
    }


def _icmp_round_trips(
    sock: socket.socket, address: str, count: int, interval_ms: float, timeout_ms: float
) -> Mapping[int, float]:
    sock.setblocking(False)
    sock.connect((address, 0))
    sent: dict[int, float] = {}
    samples: dict[int, float] = {}
    start = time.monotonic()
    deadline = start + (count * interval_ms + timeout_ms) / 1e3
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_READ)
        while len(samples) < count and time.monotonic() < deadline:
            due = start + len(sent) * interval_ms / 1e3 if len(sent) < count else deadline
            if len(sent) < count and time.monotonic() >= due:
                sent[len(sent)] = time.monotonic()
                sock.send(_ECHO.pack(_ECHO_REQUEST, 0, 0, 0, len(sent) - 1) + _PAYLOAD)
                continue
            if selector.select(max(due - time.monotonic(), 0)):
                reply, now = sock.recv(256), time.monotonic()
                kind, _code, _sum, _port, sequence = _ECHO.unpack_from(reply)
                if kind == _ECHO_REPLY and sequence in sent and sequence not in samples:
                    samples[sequence] = (now - sent[sequence]) * 1e3
    return samples


def _tcp_reset_round_trips(
    address: str, count: int, interval_ms: float, timeout_ms: float
) -> Mapping[int, float]:
    samples: dict[int, float] = {}
    start = time.monotonic()
    for sequence in range(count):
        time.sleep(max(start + sequence * interval_ms / 1e3 - time.monotonic(), 0))
        with socket.socket() as sock:
            # Below 1 s, the first retransmission of a SYN: a lost SYN must not count as a slow one.
            sock.settimeout(min(timeout_ms, 950) / 1e3)
            sent = time.monotonic()
            try:
                code = sock.connect_ex((address, _CLOSED_PORT))
            except TimeoutError:
                continue
            if code in (0, errno.ECONNREFUSED):
                samples[sequence] = (time.monotonic() - sent) * 1e3
            elif code not in (errno.EAGAIN, errno.ETIMEDOUT):
                raise OSError(code, f"{address}: {os.strerror(code)}")
    return samples
