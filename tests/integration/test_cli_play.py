"""A topology to play with: up in one process, looked at, impaired, started and taken down from others."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.engine import images
from tests.support import lab_command
from tests.support.runtimes import docker_client, until

UP_S = 60.0


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Few users, and logs in a folder of the test's own; the journal stays where the lab keeps it."""
    return lab_command.environment(LAB_STATE_DIR=str(tmp_path / "state"), PYTHONUNBUFFERED="1")


@pytest.fixture
def up(tmp_path: Path, environment: dict[str, str]) -> Iterator[tuple[str, Path, subprocess.Popen[str]]]:
    with docker_client() as client:
        images.build(client, ["server", "swarm", "nettools"], print)
    out = tmp_path / "up.out"
    small = ["--set", "swarm.users=4", "--set", "swarm.load.rate=50/s", "--runtime", "docker"]
    with out.open("w") as file:
        process = lab_command.start("up", "smoke", "--server", "epoll_lt", *small, env=environment, into=file)
    try:
        until(lambda: process.poll() is not None or "takes it down" in out.read_text(), UP_S)
        assert process.poll() is None, out.read_text()
        match = re.search(r"^(up-smoke-\w+) is up", out.read_text(), re.MULTILINE)
        assert match, out.read_text()
        yield match[1], out, process
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def lab(environment: dict[str, str]) -> Callable[..., str]:
    """What `lab` with these arguments prints."""
    return lambda *arguments: lab_command.lab(*arguments, env=environment, deadline_s=60).stdout


@pytest.fixture
def rtt_ms(up: tuple[str, Path, subprocess.Popen[str]], lab: Callable[..., str]) -> Callable[[], float]:
    """The median round trip from the worker to the server, as a probe finds it."""
    return lambda: float(json.loads(lab("net", "probe", up[0], "worker-0", "server"))["rtt_ms"]["p50"])


@pytest.mark.docker
def test_it_is_seen_impaired_started_and_taken_down(
    up: tuple[str, Path, subprocess.Popen[str]], lab: Callable[..., str]
) -> None:
    run, out, process = up

    def shown(node: str) -> list[float]:
        """The delays that its interface has."""
        links = json.loads(lab("net", "show", run, "--json"))[node]
        return [link["impairment"]["delay_ms"] for link in links]

    nodes = {row["node"]: row for row in json.loads(lab("ps", "--json")) if row["run"] == run}
    assert set(nodes) == {"server", "master", "worker-0", "net-server", "net-worker-0"}
    assert nodes["server"]["addresses"]["data"]
    assert nodes["server"]["owner"] == process.pid

    assert shown("server") == []
    assert json.loads(lab("net", "set", run, "server", "delay=60ms"))[0]["delay_ms"] == 60
    assert (shown("server"), shown("worker-0")) == ([60], [])
    assert re.search(r"^server +to all +delay 60 ms", lab("net", "show", run), re.MULTILINE)
    lab("net", "clear", run, "server")
    assert shown("server") == []

    lab("net", "go", run)
    until(lambda: "master: measure" in out.read_text(), 30)
    assert '"event": "ready"' in lab("logs", run, "server")
    lab("down", run)
    assert process.wait(30) == 0, out.read_text()
    assert not [row for row in json.loads(lab("ps", "--json")) if row["run"] == run]


@pytest.mark.docker
@pytest.mark.alone
def test_round_trips_are_short_but_while_the_link_is_delayed(
    up: tuple[str, Path, subprocess.Popen[str]], lab: Callable[..., str], rtt_ms: Callable[[], float]
) -> None:
    lab("net", "clear", up[0], "server")  # what an earlier try may have left
    assert rtt_ms() < 60
    lab("net", "set", up[0], "server", "delay=60ms")
    assert rtt_ms() >= 60
    lab("net", "clear", up[0], "server")
    assert rtt_ms() < 60
