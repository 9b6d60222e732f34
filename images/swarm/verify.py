"""A few checks of the server's answers, before anything is timed.

Each check opens its own connection and closes it before the next check, so that an iterative server can
pass. Every wait has a deadline.
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


class CheckFailed(Exception):
    """A check failed; the message says how."""


def main(settings: Settings) -> int:
    """Run all checks, print `verified`; return 0 if all pass, else 1."""
    exchange = for_wire(settings.wire, settings.handler, settings.target.host)
    selected = checks_for(exchange)
    checks = [_run(name, check, exchange, settings) for name, check in selected.items()]
    passed = all(check["ok"] for check in checks)
    # A check that fails ends where it fails: how many of its requests the server counted is not known.
    requests = sum(REQUESTS[check] for check in selected.values()) if passed else None
    emit("verified", ok=passed, checks=checks, requests=requests)
    return 0 if passed else 1


Check = Callable[[Exchange, Settings], str]


def checks_for(exchange: Exchange) -> dict[str, Check]:
    """Return the checks of an exchange, by name."""
    if exchange.transport == "udp":
        return {"answers": datagrams}
    if exchange.server_speaks_first:
        return {"greets": greet, "greets again": greet}
    return {
        "answers": answers,
        "keeps the connection": keep_alive,
        "takes a request in pieces": split_request,
    }


def _run(name: str, check: Check, exchange: Exchange, settings: Settings) -> dict[str, object]:
    try:
        return {"name": name, "ok": True, "says": check(exchange, settings)}
    except (CheckFailed, WrongAnswerError, ProtocolError) as error:
        return {"name": name, "ok": False, "says": str(error)}
    except OSError as error:  # TimeoutError included
        return {"name": name, "ok": False, "says": f"{type(error).__name__}: {error}"}


def answers(exchange: Exchange, settings: Settings) -> str:
    """Send one request."""
    with _connected(settings) as connection:
        began_s = monotonic()
        connection.sendall(exchange.request)
        _read_answer(connection, exchange.reader())
    return f"correct answer after {(monotonic() - began_s) * 1e3:.2f} ms"


def keep_alive(exchange: Exchange, settings: Settings) -> str:
    """Send three requests, one after the other, on one connection."""
    with _connected(settings) as connection:
        for number in range(3):
            connection.sendall(exchange.request)
            outcome = _read_answer(connection, exchange.reader())
            if outcome != "keep" and number < 2:
                raise CheckFailed(f"the server ends the connection after answer {number + 1}")
    return "three correct answers on one connection"


def split_request(exchange: Exchange, settings: Settings) -> str:
    """Send a request in two segments, with a pause between."""
    half = len(exchange.request) // 2
    with _connected(settings) as connection:
        connection.sendall(exchange.request[:half])
        sleep(SPLIT_PAUSE_S)  # long enough for two segments and two reads
        connection.sendall(exchange.request[half:])
        _read_answer(connection, exchange.reader())
    return "a request in two segments is one request"


def greet(exchange: Exchange, settings: Settings) -> str:
    """Receive the greeting, reply, and wait for the server to close."""
    with _connected(settings) as connection:
        _read_answer(connection, exchange.reader())
        connection.sendall(exchange.final_bytes)
        connection.shutdown(socket.SHUT_WR)
        if connection.recv(1):
            raise CheckFailed("the server sent more than the greeting")
    return "greeted, answered, closed"


def datagrams(exchange: Exchange, settings: Settings) -> str:
    """Send three numbered datagrams; each may be sent again, since UDP may lose it."""
    with _datagram_socket(settings) as connection:
        for _ in range(3):
            _ask_by_datagram(exchange, connection)
    return "three correct answers"


def _ask_by_datagram(exchange: Exchange, connection: socket.socket) -> None:
    connection.settimeout(DEADLINE_S / DATAGRAM_TRIES)
    for _ in range(DATAGRAM_TRIES):
        request, reader = exchange.numbered_request()
        connection.send(request)
        try:
            while reader.feed(connection.recv(65536)) is None:
                pass
        except TimeoutError:
            continue
        return
    raise CheckFailed(f"no answer to {DATAGRAM_TRIES} datagrams")


def _read_answer(connection: socket.socket, reader: Reader) -> str:
    deadline_s = monotonic() + DEADLINE_S
    while True:
        connection.settimeout(max(0.001, deadline_s - monotonic()))
        data = connection.recv(65536)
        outcome = reader.feed(data) if data else reader.eof()
        if outcome is not None:
            return outcome
        if not data:
            raise CheckFailed("the server closed before its answer was complete")


# Requests that the server counts for each check that passes; the load's requests are its count less these.
REQUESTS: dict[Check, int] = {answers: 1, keep_alive: 3, split_request: 1, greet: 1, datagrams: 3}


def _connected(settings: Settings) -> socket.socket:
    return socket.create_connection((settings.target.host, settings.target.port), DEADLINE_S)


def _datagram_socket(settings: Settings) -> socket.socket:
    connection = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    connection.connect((settings.target.host, settings.target.port))
    return connection
