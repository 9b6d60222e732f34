"""Requests and judgements of each wire, without a network."""

from __future__ import annotations

import pytest
from swarm.answers import HELLO, WrongAnswerError, check, expected_answer
from swarm.errors import SettingsError
from swarm.exchange import CLOSE, KEEP, PAYLOAD, for_wire
from wire import NAMES, datagram, echo, greet, http1
from wire.http1 import ProtocolError


def test_every_wire_has_an_exchange() -> None:
    for wire in NAMES:
        assert for_wire(wire, "echo", "server").transport in ("tcp", "udp")
    with pytest.raises(SettingsError, match="smtp"):
        for_wire("smtp", "hello", "server")


def test_http1_asks_and_judges() -> None:
    exchange = for_wire("http1", "hello", "server")
    request = http1.RequestParser().feed(exchange.request)[0]
    assert (request.method, request.target, request.keep_alive) == ("GET", "/", True)
    assert exchange.reader().feed(http1.response(200, HELLO)) == KEEP
    assert exchange.reader().feed(http1.response(200, HELLO, keep_alive=False)) == CLOSE


def test_http1_answers_may_come_in_pieces() -> None:
    reader = for_wire("http1", "hello", "server").reader()
    whole = http1.response(200, HELLO)
    outcomes = [reader.feed(whole[i : i + 1]) for i in range(len(whole))]
    assert outcomes == [None] * (len(whole) - 1) + [KEEP]


def test_http1_end_of_stream_completes_an_answer_without_length() -> None:
    reader = for_wire("http1", "hello", "server").reader()
    assert reader.feed(b"HTTP/1.1 200 OK\r\n\r\n" + HELLO) is None
    assert reader.eof() == CLOSE


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (http1.response(500, b"no"), WrongAnswerError),
        (http1.response(200, b"Hello, world"), WrongAnswerError),
        (http1.response(200, HELLO) * 2, ProtocolError),
        (b"SMTP ready\r\n\r\n", ProtocolError),
    ],
)
def test_http1_refuses_what_is_not_the_answer(answer: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        for_wire("http1", "hello", "server").reader().feed(answer)


def test_http1_posts_what_comes_back() -> None:
    exchange = for_wire("http1", "echo", "server")
    assert http1.RequestParser().feed(exchange.request)[0].body == PAYLOAD
    assert exchange.reader().feed(http1.response(200, PAYLOAD)) == KEEP


def test_echo_judges_the_frame() -> None:
    exchange = for_wire("echo", "echo", "server")
    assert exchange.reader().feed(exchange.request) == KEEP
    with pytest.raises(WrongAnswerError):
        exchange.reader().feed(echo.encode(b"something else"))


def test_greet_is_one_connection_per_exchange() -> None:
    exchange = for_wire("greet", "hello", "server")
    assert exchange.server_speaks_first
    assert exchange.connection_per_request
    assert exchange.final_bytes == greet.REPLY
    reader = exchange.reader()
    assert [reader.feed(greet.GREETING[:5]), reader.feed(greet.GREETING[5:])] == [None, CLOSE]


def test_datagrams_are_matched_by_number() -> None:
    exchange = for_wire("datagram", "echo", "server")
    first, first_reader = exchange.numbered_request()
    second, second_reader = exchange.numbered_request()
    assert datagram.decode(first).id != datagram.decode(second).id
    assert second_reader.feed(first) is None  # late or repeated: not ours
    assert (first_reader.feed(first), second_reader.feed(second)) == (KEEP, KEEP)


@pytest.mark.parametrize(
    ("handler", "answer"),
    [
        ("hello", HELLO),
        ("sleep:10ms", HELLO),
        ("cpu:200us", HELLO),
        ("json", b'{"message":"Hello, World!"}'),
        ("echo", b"sent"),
        ("file:20B", b"0123456789abcdef0123"),
        ("any", None),
    ],
)
def test_the_right_answer_of_each_handler(handler: str, answer: bytes | None) -> None:
    assert expected_answer(handler, b"sent") == answer


@pytest.mark.parametrize("handler", ["helo", "file", "file:64", ""])
def test_an_unknown_handler_is_refused(handler: str) -> None:
    with pytest.raises(SettingsError, match="handler must be"):
        expected_answer(handler, b"")


def test_any_answer_will_do_but_none() -> None:
    check(b"x", None)
    with pytest.raises(WrongAnswerError):
        check(b"", None)
