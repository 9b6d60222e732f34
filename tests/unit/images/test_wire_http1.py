"""The http1 wire: its invariants, what it refuses, and h11 and http.client as oracles."""

from __future__ import annotations

import http.client
import io
from collections.abc import Sequence

import h11
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from wire import http1
from wire.http1 import ProtocolError, Request, RequestParser, ResponseParser, request, response

HOST = "Host: lab\r\n"
BODY = b"POST / HTTP/1.1\r\nHost: lab\r\n"


def feed_in_pieces(data: bytes, cuts: Sequence[int]) -> tuple[list[Request], int | None]:
    """Return the requests and the status of the error after them, if any."""
    parser, begin = RequestParser(), 0
    found: list[Request] = []
    for end in [*sorted({cut for cut in cuts if 0 < cut < len(data)}), len(data)]:
        try:
            found += parser.feed(data[begin:end])
        except ProtocolError as error:
            return found + list(error.parsed), error.status
        begin = end
    return found, None


TOKENS = [
    b"GET", b"POST", b"BREW", b" ", b" / ", b"/", b"*", b"http://lab/x", b"HTTP/1.1",
    b"HTTP/1.0", b"HTTP/2.0",
    b"\r\n", b"\n", b"\r", b"\r\n\r\n",
    b"Host: lab\r\n", b"Content-Length: 3\r\n", b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip, chunked\r\n", b"Connection: close\r\n",
    b"Expect: 100-continue\r\n", b" folded\r\n", b"X : y\r\n", b"3\r\nabc\r\n", b"0\r\n\r\n",
    b"a;ext=1\r\n", b"abc", b"\0", b"\xff",
    b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: lab\r\nContent-Length: 3\r\n\r\nabc",
    b"POST / HTTP/1.1\r\nHost: lab\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
]  # fmt: skip
streams = st.lists(st.sampled_from(TOKENS), max_size=12).map(b"".join) | st.binary(max_size=200)


@settings(max_examples=400)
@given(streams, st.lists(st.integers(0, 300), max_size=8))
def test_the_result_does_not_depend_on_how_bytes_are_split(data: bytes, cuts: list[int]) -> None:
    whole, pieces, bytewise = (feed_in_pieces(data, c) for c in ([], cuts, range(len(data))))
    assert whole == pieces == bytewise


@settings(max_examples=400)
@given(streams)
def test_garbage_raises_protocol_error_or_nothing(data: bytes) -> None:
    found, status = feed_in_pieces(data, [])
    assert status in (None, 400, 413, 414, 417, 431, 501, 505)
    assert all(one.method in ("GET", "POST") for one in found)


@settings(max_examples=400)
@given(streams)
@example(b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n")
def test_h11_parses_what_we_accept_to_the_same_requests(data: bytes) -> None:
    ours, _ = feed_in_pieces(data, [])
    theirs = read_by_h11(data, len(ours))
    for mine, (method, target, body) in zip(ours, theirs, strict=True):
        assert (mine.method, mine.target, mine.body) == (method, target, body)


def read_by_h11(data: bytes, count: int) -> list[tuple[str, str, bytes]]:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data.lstrip(b"\r\n"))
    found: list[tuple[str, str, bytes]] = []
    while len(found) < count:
        event = connection.next_event()
        assert isinstance(event, h11.Request), event
        body = b""
        while not isinstance(part := connection.next_event(), h11.EndOfMessage):
            assert isinstance(part, h11.Data), part
            body += bytes(part.data)
        found.append((event.method.decode(), event.target.decode(), body))
        connection.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
        connection.send(h11.EndOfMessage())
        if len(found) < count:
            rest = connection.trailing_data[0].lstrip(b"\r\n")
            connection = h11.Connection(h11.SERVER)
            connection.receive_data(rest)
    return found


@pytest.mark.parametrize(
    ("data", "status"),
    [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        (f"GET / HTTP/1.1\r\n{HOST}{HOST}\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: lab/\r\n\r\n", 400),
        (f"GET  / HTTP/1.1\r\n{HOST}\r\n", 400),
        (f"GET / HTTP/1.1 \r\n{HOST}\r\n", 400),
        (f"GET / http/1.1\r\n{HOST}\r\n", 400),
        (f"GET / HTTP/11\r\n{HOST}\r\n", 400),
        (f"GET\t/ HTTP/1.1\r\n{HOST}\r\n", 400),
        (f"GET x HTTP/1.1\r\n{HOST}\r\n", 400),
        (f"GET * HTTP/1.1\r\n{HOST}\r\n", 400),
        (f"GET http:///x HTTP/1.1\r\n{HOST}\r\n", 400),
        (f"CONNECT / HTTP/1.1\r\n{HOST}\r\n", 400),
        (f"GET /\x7f HTTP/1.1\r\n{HOST}\r\n", 400),
        (f"GET / HTTP/1.1\r\n{HOST}X : y\r\n\r\n", 400),
        (f"GET / HTTP/1.1\r\n{HOST} folded\r\n\r\n", 400),
        (f"GET / HTTP/1.1\r\n{HOST}: y\r\n\r\n", 400),
        (f"GET / HTTP/1.1\r\n{HOST}X: a\0b\r\n\r\n", 400),
        (f"GET / HTTP/1.1\r\n{HOST}X: a\rb\r\n\r\n", 400),
        ("GET / HTTP/1.1\nHost: lab\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: lab\n\n", 400),
        (f"GET / HTTP/2.0\r\n{HOST}\r\n", 505),
        (f"BREW / HTTP/1.1\r\n{HOST}\r\n", 501),
        (f"get / HTTP/1.1\r\n{HOST}\r\n", 501),
        (f"GET / HTTP/1.1\r\n{HOST}Expect: tea\r\n\r\n", 417),
        (f"GET /{'x' * 9000} HTTP/1.1\r\n{HOST}\r\n", 414),
        (f"GET / HTTP/1.1\r\n{HOST}X: {'y' * 17000}\r\n\r\n", 431),
        (f"GET / HTTP/1.1\r\n{HOST}{'X: y' + chr(13) + chr(10)}" + "X: y\r\n" * 100 + "\r\n", 431),
    ],
)
def test_a_bad_head_is_refused(data: str, status: int) -> None:
    assert feed_in_pieces(data.encode("latin-1"), []) == ([], status)


@pytest.mark.parametrize(
    ("fields", "body", "status"),
    [
        (b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n", 400),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", b"0\r\n\r\n", 400),
        (b"Content-Length: 3\r\nContent-Length: 3\r\n", b"abc", 400),
        (b"Content-Length: 3, 3\r\n", b"abc", 400),
        (b"Content-Length: +3\r\n", b"abc", 400),
        (b"Content-Length: -1\r\n", b"", 400),
        (b"Content-Length: 0x3\r\n", b"abc", 400),
        (b"Content-Length: \r\n", b"", 400),
        (b"Content-Length: 99999999\r\n", b"", 413),
        (b"Content-Length: 9999999999999999999999\r\n", b"", 400),
        (b"Transfer-Encoding: gzip\r\n", b"", 400),
        (b"Transfer-Encoding: chunked, gzip\r\n", b"", 400),
        (b"Transfer-Encoding: chunked, chunked\r\n", b"", 400),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", b"", 400),
        (b"Transfer-Encoding: gzip, chunked\r\n", b"", 501),
        (b"Transfer-Encoding: xchunked\r\n", b"", 400),
        (b"Transfer-Encoding:\x0bchunked\r\n", b"", 400),
        (b"Transfer-Encoding: chunked\r\n", b"3\nabc\r\n", 400),
        (b"Transfer-Encoding: chunked\r\n", b"3 \r\nabc\r\n", 400),
        (b"Transfer-Encoding: chunked\r\n", b"-3\r\nabc\r\n", 400),
        (b"Transfer-Encoding: chunked\r\n", b"0x3\r\nabc\r\n", 400),
        (b"Transfer-Encoding: chunked\r\n", b"\r\nabc\r\n", 400),
        (b"Transfer-Encoding: chunked\r\n", b"3\r\nabcX", 400),
        (b"Transfer-Encoding: chunked\r\n", b"3\r\nabc\rX", 400),
        (b"Transfer-Encoding: chunked\r\n", b"fffffff\r\n", 413),
        (b"Transfer-Encoding: chunked\r\n", b"1;" + b"e" * 300, 400),
        (b"Transfer-Encoding: chunked\r\n", b"0\r\nbad trailer\r\n\r\n", 400),
        (b"Transfer-Encoding: chunked\r\n", b"0\r\n" + b"X: y\r\n" * 4000, 431),
    ],
)
def test_ambiguous_body_framing_is_refused(fields: bytes, body: bytes, status: int) -> None:
    assert feed_in_pieces(BODY + fields + b"\r\n" + body, []) == ([], status)


def test_chunked_in_http_1_0_is_refused() -> None:
    assert feed_in_pieces(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", [])[1] == 400


def test_requests_before_an_error_are_kept() -> None:
    good = request("GET", "/a", "lab") + request("POST", "/b", "lab", body=b"xyz")
    found, status = feed_in_pieces(good + b"\0", [])
    assert [(one.target, one.body) for one in found] == [("/a", b""), ("/b", b"xyz")]
    assert status is None
    found, status = feed_in_pieces(good + b"\0\r\n\r\n", [])
    assert [one.target for one in found] == ["/a", "/b"]
    assert status == 400


def test_input_after_an_error_or_a_close_is_discarded() -> None:
    parser = RequestParser()
    with pytest.raises(ProtocolError):
        parser.feed(b"\n")
    assert parser.feed(request("GET", "/", "lab")) == []
    parser = RequestParser()
    assert len(parser.feed(request("GET", "/", "lab", headers=[("Connection", "close")]) * 2)) == 1
    assert parser.feed(request("GET", "/", "lab")) == []


@pytest.mark.parametrize(
    ("version", "connection", "stays"),
    [
        ("1.1", "", True),
        ("1.1", "close", False),
        ("1.1", "x, Close", False),
        ("1.0", "", False),
        ("1.0", "keep-alive", True),
    ],
)
def test_connection_persistence(version: str, connection: str, stays: bool) -> None:
    field = f"Connection: {connection}\r\n" if connection else ""
    data = f"GET / HTTP/{version}\r\n{HOST}{field}\r\n".encode()
    assert RequestParser().feed(data)[0].keep_alive is stays


def test_100_continue_is_wanted_once_and_only_before_the_body() -> None:
    head = BODY + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    parser = RequestParser()
    assert parser.feed(head) == []
    assert parser.wants_continue
    assert parser.feed(b"abc")[0].expect_continue
    assert [parser.wants_continue] == [False]
    assert RequestParser().feed(head + b"abc")[0].body == b"abc"


def test_an_idle_parser_keeps_no_buffer() -> None:
    parser = RequestParser()
    parser.feed(request("POST", "/", "lab", body=b"x" * 1000))
    assert parser.incomplete is False
    later = RequestParser()
    later.feed(b"GET")
    assert later.incomplete


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(st.sampled_from(["GET", "HEAD"]), st.sampled_from([200, 404, 204]), st.binary(max_size=50)),
        max_size=5,
    ),
    st.lists(st.integers(0, 500), max_size=6),
)
def test_encoded_responses_parse_to_the_same(answers: list[tuple[str, int, bytes]], cuts: list[int]) -> None:
    parser, data = ResponseParser(), b""
    for method, status, body in answers:
        parser.request_sent(method)
        data += http1.CONTINUE + response(status, body, head_only=method == "HEAD" or status == 204)
    found: list[http1.Response] = []
    begin = 0
    for end in [*sorted({cut for cut in cuts if 0 < cut < len(data)}), len(data)]:
        found += parser.feed(data[begin:end])
        begin = end
    expected = [
        (status, b"" if method == "HEAD" or status == 204 else body) for method, status, body in answers
    ]
    assert [(one.status, one.body) for one in found] == expected
    assert parser.eof() == []


class _FakeSocket:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


@pytest.mark.parametrize("status", [200, 404, 405, 501])
def test_http_client_parses_our_responses(status: int) -> None:
    theirs = http.client.HTTPResponse(_FakeSocket(response(status, b"body", "text/x")))  # type: ignore[arg-type]
    theirs.begin()
    assert (theirs.status, theirs.read(), theirs.getheader("Content-Type")) == (status, b"body", "text/x")
    assert theirs.getheader("Date", "").endswith("GMT")


def test_response_bodies_chunked_until_close_and_cut_short() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    assert ResponseParser().feed(chunked)[0].body == b"abc"
    until_close = ResponseParser()
    assert until_close.feed(b"HTTP/1.1 200 OK\r\n\r\nabc") == []
    assert until_close.eof()[0].body == b"abc"
    cut = ResponseParser()
    cut.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc")
    with pytest.raises(ProtocolError):
        cut.eof()


def test_connection_field_of_a_response() -> None:
    assert b"Connection: keep-alive\r\n" in response(200, b"", minor=0)
    assert b"Connection: close\r\n" in response(200, b"", keep_alive=False)
    assert b"Connection" not in response(200, b"")
