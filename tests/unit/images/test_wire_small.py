"""The small wires: echo, greet, datagram, and the registry."""

from __future__ import annotations

from typing import get_args

import pytest
import wire
from hypothesis import given
from hypothesis import strategies as st
from wire import datagram, echo, greet

from lab.scenario.handler import HANDLERS
from lab.scenario.swarm import Wire


def test_every_wire_defines_its_constants() -> None:
    assert set(wire.NAMES) == set(get_args(Wire)), "the wires of the images, and those of a scenario"
    for name in wire.NAMES:
        module = wire.load(name)
        assert module.TRANSPORT in ("tcp", "udp")
        assert isinstance(module.SERVER_SPEAKS_FIRST, bool)
        assert module.DEFAULT_HANDLER in HANDLERS
    with pytest.raises(LookupError, match=f"unknown wire 'smoke'; known: {', '.join(wire.NAMES)}"):
        wire.load("smoke")


@given(st.lists(st.binary(max_size=40), max_size=8), st.integers(1, 60))
def test_encoded_frames_parse_to_the_same(payloads: list[bytes], step: int) -> None:
    data = b"".join(map(echo.encode, payloads))
    parser, found = echo.FrameParser(), []
    for begin in range(0, len(data), step):
        found += parser.feed(data[begin : begin + step])
    assert found == payloads
    assert not parser.incomplete


@given(st.binary(max_size=60), st.integers(1, 10))
def test_garbage_frames_do_not_depend_on_how_bytes_are_split(data: bytes, step: int) -> None:
    def read(size: int) -> tuple[list[bytes], bool]:
        parser, found = echo.FrameParser(64), []
        for begin in range(0, len(data), size):
            try:
                found += parser.feed(data[begin : begin + size])
            except echo.ProtocolError as error:
                return found + list(error.parsed), True
        return found, False

    assert read(step) == read(1) == read(100)


def test_payloads_before_an_oversized_frame_are_kept() -> None:
    with pytest.raises(echo.ProtocolError) as caught:
        echo.FrameParser(8).feed(echo.encode(b"good") + echo.encode(b"123456789"))
    assert caught.value.parsed == [b"good"]
    with pytest.raises(ValueError, match="at most"):
        echo.encode(b"x" * (echo.MAX_PAYLOAD_BYTES + 1))


def test_greeting_and_reply_in_parts() -> None:
    client = greet.GreetingReader()
    assert client.feed(greet.GREETING[:5]) is None
    assert client.feed(greet.GREETING[5:]) == greet.REPLY
    client.eof()
    with pytest.raises(greet.ProtocolError):
        greet.GreetingReader().feed(b"hullo")
    with pytest.raises(greet.ProtocolError):
        greet.GreetingReader().eof()
    server = greet.ReplyReader()
    server.feed(b"hello ")
    server.feed(b"server")
    assert server.message == greet.REPLY
    with pytest.raises(greet.ProtocolError):
        server.feed(b"x" * greet.MAX_MESSAGE_BYTES)


@given(st.integers(0, 2**64 - 1), st.binary(max_size=100))
def test_datagrams(number: int, payload: bytes) -> None:
    assert datagram.decode(datagram.encode(number, payload)) == (number, payload)


def test_datagrams_that_do_not_fit() -> None:
    with pytest.raises(datagram.ProtocolError):
        datagram.decode(b"1234567")
    with pytest.raises(ValueError, match="at most"):
        datagram.encode(1, b"x" * (datagram.MAX_PAYLOAD_BYTES + 1))
    with pytest.raises(ValueError, match="8 bytes"):
        datagram.encode(2**64, b"")
