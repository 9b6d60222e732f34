"""Helpers of the tests that start nodes: an engine with the lab's images, run ids, waits with a deadline."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lab.common.errors import HostCannot
from lab.engine import connect, images
from lab.runtime.docker import DockerRuntime

HANGS_S = 15.0  # only ends what hangs


def run_id() -> str:
    """A run that is nobody else's."""
    return f"test-{secrets.token_hex(4)}"


def until(condition: Callable[[], object], deadline_s: float = HANGS_S) -> None:
    """Wait until the condition holds. Raises AssertionError when it does not in time."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"not so within {deadline_s:g} s"
        time.sleep(0.01)


@contextmanager
def docker_client() -> Iterator[Any]:
    """A client of the engine; skips where there is none and none may be started."""
    try:
        client = connect.ensure(print)
    except HostCannot as error:
        pytest.skip(str(error))
    try:
        yield client
    finally:
        client.close()


@contextmanager
def docker_runtime(*which: str) -> Iterator[DockerRuntime]:
    """The docker runtime with the lab's images (server, or `which`), built where they are missing."""
    with docker_client() as client:
        yield DockerRuntime(client, images.build(client, which or ["server"], print))
