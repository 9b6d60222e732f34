"""A few right-answer checks over fresh connections, before anything is timed.

One connection at a time, closed before the next is opened: an iterative server can pass. Every wait has a
deadline.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from time import monotonic, sleep

from wire.http1 import ProtocolError

from .answers import WrongAnswerError
from .events import emit
from .exchange import Exchange, Reader, for_wire
from .settings import Settings

DEADLINE_S = 5.0
SPLIT_PAUSE_S = 0.02
DATAGRAM_TRIES = 3


class Wrong(Exception):
    """A check failed; the message says what came instead."""


def main(settings: Settings) -> int:
    """Run all checks, print `verified`; return 0 if all is right, else 1."""
    exchange = for_wire(settings.wire, settings.handler, settings.target.host)
    asked = checks_for(exchange)
    checks = [_run(name, check, exchange, settings) for name, check in asked.items()]
    right = all(check["ok"] for check in checks)
    emit("verified", ok=right, checks=checks, requests=sum(REQUESTS[check] for check in asked.values()))
    return 0 if right else 1


Check = Callable[[Exchange, Settings], str]


def checks_for(exchange: Exchange) -> dict[str, Check]:
    """Return the checks that make sense for an exchange, by name."""
    if exchange.transport == "udp":
        return {"answers": datagrams}
    if exchange.speaks_first:
        return {"greets": greeting, "greets again": greeting}
    return {"answers": answers, "keeps the connection": keeps, "takes a request in pieces": pieces}


def _run(name: str, check: Check, exchange: Exchange, settings: Settings) -> dict[str, object]:
    try:
        return {"name": name, "ok": True, "says": check(exchange, settings)}
    except (Wrong, WrongAnswerError, ProtocolError) as error:
        return {"name": name, "ok": False, "says": str(error)}
    except OSError as error:  # TimeoutError included
        return {"name": name, "ok": False, "says": f"{type(error).__name__}: {error}"}


def answers(exchange: Exchange, settings: Settings) -> str:
    """One request, one right answer."""
    with _connected(settings) as connection:
        began_s = monotonic()
        connection.sendall(exchange.request)
        _collect(connection, exchange.reader())
    return f"right after {(monotonic() - began_s) * 1e3:.2f} ms"


def keeps(exchange: Exchange, settings: Settings) -> str:
    """Three requests, one after the other, on one connection."""
    with _connected(settings) as connection:
        for number in range(3):
            connection.sendall(exchange.request)
            outcome = _collect(connection, exchange.reader())
            if outcome != "keep" and number < 2:
                raise Wrong(f"the server ends the connection after answer {number + 1}")
    return "three right answers on one connection"


def pieces(exchange: Exchange, settings: Settings) -> str:
    """A request cut in two, with a pause between."""
    half = len(exchange.request) // 2
    with _connected(settings) as connection:
        connection.sendall(exchange.request[:half])
        sleep(SPLIT_PAUSE_S)  # long enough for two segments, two reads
        connection.sendall(exchange.request[half:])
        _collect(connection, exchange.reader())
    return "a request in two pieces is one request"


def greeting(exchange: Exchange, settings: Settings) -> str:
    """The greeting, our answer, the server's end."""
    with _connected(settings) as connection:
        _collect(connection, exchange.reader())
        connection.sendall(exchange.farewell)
        connection.shutdown(socket.SHUT_WR)
        if connection.recv(1):
            raise Wrong("the server says more after the exchange")
    return "greeted, answered, ended"


def datagrams(exchange: Exchange, settings: Settings) -> str:
    """Three numbered datagrams; each may be tried again, since UDP may lose one."""
    with _datagram_socket(settings) as connection:
        for _ in range(3):
            _ask_by_datagram(exchange, connection)
    return "three right answers"


def _ask_by_datagram(exchange: Exchange, connection: socket.socket) -> None:
    connection.settimeout(DEADLINE_S / DATAGRAM_TRIES)
    for _ in range(DATAGRAM_TRIES):
        request, reader = exchange.numbered()
        connection.send(request)
        try:
            while reader.feed(connection.recv(65536)) is None:
                pass
        except TimeoutError:
            continue
        return
    raise Wrong(f"no answer to {DATAGRAM_TRIES} datagrams")


def _collect(connection: socket.socket, reader: Reader) -> str:
    deadline_s = monotonic() + DEADLINE_S
    while True:
        connection.settimeout(max(0.001, deadline_s - monotonic()))
        data = connection.recv(65536)
        outcome = reader.feed(data) if data else reader.eof()
        if outcome is not None:
            return outcome
        if not data:
            raise Wrong("the server closed before its answer was whole")


# What the server counts for each check that is passed: the load's own requests are its count less these.
REQUESTS: dict[Check, int] = {answers: 1, keeps: 3, pieces: 1, greeting: 1, datagrams: 3}


def _connected(settings: Settings) -> socket.socket:
    return socket.create_connection((settings.target.host, settings.target.port), DEADLINE_S)


def _datagram_socket(settings: Settings) -> socket.socket:
    connection = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    connection.connect((settings.target.host, settings.target.port))
    return connection
