"""Helpers of the tests that start nodes: an engine with the lab's images, run ids, waits with a deadline."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import docker
import pytest

from lab import images
from lab.runtime.docker import DockerRuntime


def run_id() -> str:
    """A run that is nobody else's."""
    return f"test-{secrets.token_hex(4)}"


def until(condition: Callable[[], object], deadline_s: float = 5.0) -> None:
    """Wait until the condition holds. Raises AssertionError when it does not in time."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"not so within {deadline_s:g} s"
        time.sleep(0.01)


@contextmanager
def engine() -> Iterator[docker.DockerClient]:
    """The engine that answers here; skips where none does."""
    try:
        client = docker.from_env(version="auto", timeout=60)
    except docker.errors.DockerException as error:
        pytest.skip(f"no Docker engine answers: {error}")
    try:
        yield client
    finally:
        client.close()


@contextmanager
def docker_runtime() -> Iterator[DockerRuntime]:
    """The docker runtime with the lab's images, built where they are missing."""
    with engine() as client:
        yield DockerRuntime(client, images.build(client, ["server"], print))
