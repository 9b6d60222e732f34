"""A client of an engine that does not answer leaves no socket behind."""

from __future__ import annotations

import gc
import socket
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker.errors
import pytest
import requests

from lab.engine.client import open_client

ANSWERS = {
    "no JSON": b"x",
    "JSON of another kind": b"[]",
    "no version": b"{}",
    "a version that is too old": b'{"ApiVersion": "1.1"}',
}


@contextmanager
def _engine(path: Path, body: bytes) -> Iterator[str]:
    """An engine that gives `body` to one request, and then waits for the client to close."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    listener = socket.socket(socket.AF_UNIX)

    def serve() -> None:
        asked, _ = listener.accept()
        with asked:
            asked.recv(65536)
            asked.sendall(head + body)
            asked.recv(1)

    with listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"unix://{path}"
        thread.join(10)
        assert not thread.is_alive(), "the client left its connection open"


def _left_open(url: str) -> list[str]:
    """Ask an engine for its version in vain; return the warnings of sockets that nobody closed."""
    gc.collect()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always", ResourceWarning)
        with pytest.raises(
            (docker.errors.DockerException, requests.RequestException, ValueError, KeyError, TypeError)
        ):
            open_client(url, 5)
        gc.collect()
    return [str(one.message) for one in seen]


def test_it_takes_the_version_that_the_engine_tells(tmp_path: Path) -> None:
    with _engine(tmp_path / "sock", b'{"ApiVersion": "1.41"}') as url:
        client = open_client(url, 5)
        assert client.api._version == "1.41"
        client.close()


def test_no_socket_is_left_where_nobody_listens(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "sock"))
        assert _left_open(f"unix://{tmp_path}/sock") == []


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_nor_where_the_answer_is_wrong(tmp_path: Path, answer: bytes) -> None:
    with _engine(tmp_path / "sock", answer) as url:
        assert _left_open(url) == []
