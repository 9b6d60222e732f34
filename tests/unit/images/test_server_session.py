"""Sessions without I/O, and the stream that carries out their effects on a socket pair."""

from __future__ import annotations

import random
import socket
import time

import pytest
from iomodels import handlers, sessions
from iomodels.session import (
    CLOSE,
    CLOSED,
    PAUSED,
    READ,
    REFUSE,
    WRITE,
    SendFile,
    Session,
    Stream,
    Timers,
    Wait,
)
from iomodels.stats import ThreadCounters
from wire import datagram, echo, http1

PEER = ("127.0.0.1", 1)
GET = http1.request("GET", "/", "lab")


def make(wire: str, handler: str = "hello") -> Session:
    return sessions.make(wire, handlers.load(handler))(PEER)


def test_answers_keep_the_order_of_their_requests() -> None:
    session = make("http1", "sleep:1ms")
    assert session.received(http1.request("GET", "/json", "lab") + GET + GET)[-1] == Wait(0.001)
    assert session.answers == 1
    first = session.resumed()
    assert (len(first), first[-1]) == (2, Wait(0.001))
    assert session.answers == 2
    assert len(session.resumed()) == 1
    assert session.eof() == (CLOSE,)


@pytest.mark.parametrize("handler", ["hello", "echo", "json", "file:1KiB"])
def test_a_kept_answer_equals_a_new_one(handler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1e9)
    requests = [
        GET,
        http1.request("HEAD", "/", "lab"),
        http1.request("POST", "/", "lab", body=b"one"),
        http1.request("POST", "/", "lab", body=b"two"),
        http1.request("GET", "/json", "lab"),
        http1.request("DELETE", "/", "lab"),
        b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    ]
    source = random.Random(7)
    session = make("http1", handler)
    for data in source.choices(requests, k=200):
        without_cache = [content(effect) for effect in make("http1", handler).received(data)]
        assert [content(effect) for effect in session.received(data)] == without_cache
    assert session.answers == 200


def content(effect: object) -> object:
    """Return the effect; for a file without its descriptor, which differs between servers."""
    return effect[1:] if isinstance(effect, SendFile) else effect


def test_a_kept_answer_has_the_date_of_its_second(monkeypatch: pytest.MonkeyPatch) -> None:
    session, dates = make("http1"), []
    for now in (1e9, 1e9 + 0.9, 1e9 + 1.0, 1e9 - 5):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        for _ in range(2):
            answer = session.received(GET)[0]
            assert isinstance(answer, bytes)
            dates.append(answer.split(b"Date: ")[1][17:25])
    assert dates == [b"01:46:40"] * 4 + [b"01:46:41"] * 2 + [b"01:46:35"] * 2


def test_the_handler_runs_for_every_request_even_if_its_answer_is_kept() -> None:
    class Counting:
        content_type, wait_s, calls = "text/plain", 0.0, 0

        def answer(self, payload: bytes) -> bytes:
            self.calls += 1
            return b"same"

    handler = Counting()
    session = sessions.make("http1", handler)(PEER)
    for _ in range(5):
        session.received(GET)
    assert handler.calls == 5


def test_an_error_follows_the_answers_of_earlier_requests() -> None:
    effects = make("http1").received(GET + b"\0\r\n\r\n")
    assert effects[-1] == REFUSE
    answers = effects[0]
    assert isinstance(answers, bytes)
    both = http1.ResponseParser().feed(answers)
    assert [one.status for one in both] == [200, 400]
    slow = make("http1", "sleep:1ms")
    assert list(slow.received(GET + b"\0\r\n\r\n")) == [Wait(0.001)]
    assert slow.resumed()[-1] == REFUSE


def test_the_last_answer_closes() -> None:
    effects = make("http1").received(
        http1.request("GET", "/", "lab", headers=[("Connection", "close")]) + GET
    )
    assert effects[-1] == CLOSE
    assert len(effects) == 2


def test_absolute_targets_and_queries() -> None:
    session = make("http1", "json")
    for target in ("http://lab/json?x=1", "/json?y", "http://lab"):
        data = session.received(http1.request("GET", target, "lab"))[0]
        assert isinstance(data, bytes)
        assert data.endswith(handlers.JSON)


def test_echo_datagram_and_greet() -> None:
    assert make("echo", "echo").received(echo.encode(b"x")) == [echo.encode(b"x")]
    assert make("echo").received(b"\xff" * 8) == (REFUSE,) or make("echo").received(b"\xff" * 8)[-1] == REFUSE
    assert make("datagram", "echo").received(datagram.encode(7, b"x")) == (datagram.encode(7, b"x"),)
    assert make("datagram").received(b"short") == ()
    assert make("greet").opened() == (b"connection server",)
    assert make("greet").received(b"x" * 5000) == (REFUSE,)


class Silent:
    """A session without answers."""

    answers = 0

    def opened(self) -> tuple[()]:
        return ()

    received = resumed = eof = opened


@pytest.fixture
def pair() -> object:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


def test_a_stream_keeps_what_the_kernel_does_not_take(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    session, counters = Silent(), ThreadCounters()
    stream = Stream(ours.fileno(), session, counters)  # type: ignore[arg-type]
    session.answers = 1
    big = bytes(range(256)) * 8192
    assert stream.run_effects([big, CLOSE]) == WRITE
    assert counters.requests == 0
    received = b""
    interest = WRITE
    while interest == WRITE:
        received += theirs.recv(1 << 20)
        interest = stream.flush()
    assert interest == CLOSED
    assert counters.requests == 1
    ours.shutdown(socket.SHUT_WR)
    while data := theirs.recv(1 << 20):
        received += data
    assert received == big
    assert counters.bytes_out == len(big)


def test_a_stream_sends_files_and_pauses(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    stream = Stream(ours.fileno(), Silent(), ThreadCounters())  # type: ignore[arg-type]
    file = handlers.load("file:5000B").answer(b"")
    assert isinstance(file, SendFile)
    assert stream.run_effects([b"head", file]) == READ
    assert theirs.recv(9000, socket.MSG_WAITALL | socket.MSG_DONTWAIT)[:20] == b"head0123456789abcdef"
    assert stream.run_effects([b"x", Wait(0.25)]) == PAUSED
    assert stream.pause_s == 0.25
    assert stream.run_effects(()) == READ


def test_timers_return_paused_streams_and_drop_closed_ones() -> None:
    timers: Timers[Stream] = Timers()
    assert timers.timeout_s() is None
    paused, closed = (Stream(0, Silent(), ThreadCounters()) for _ in range(2))  # type: ignore[arg-type]
    paused.interest, closed.interest = PAUSED, CLOSED
    for item in (closed, paused, None):
        timers.add(0.0, item)
    assert timers.timeout_s() == 0.0
    assert list(timers.due()) == [paused, None]
