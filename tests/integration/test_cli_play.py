"""A topology to play with: up in one process, looked at, impaired, started and taken down from others."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.engine import images
from tests.support.runtimes import docker_client, until

ROOT = Path(__file__).resolve().parents[2]
LAB = [sys.executable, "-m", "lab.cli"]
UP_S = 60.0


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Few users, and logs in a folder of the test's own; the journal stays where the lab keeps it."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("LAB_SET_")}
    return kept | {"LAB_STATE_DIR": str(tmp_path / "state"), "PYTHONUNBUFFERED": "1"}


@pytest.fixture
def up(tmp_path: Path, environment: dict[str, str]) -> Iterator[tuple[str, Path, subprocess.Popen[str]]]:
    with docker_client() as client:
        images.build(client, ["server", "swarm", "nettools"], print)
    out = tmp_path / "up.out"
    small = ["--set", "swarm.users=4", "--set", "swarm.load.rate=50/s", "--runtime", "docker"]
    with out.open("w") as file:
        process = subprocess.Popen(
            [*LAB, "up", "smoke", "--server", "epoll_lt", *small],
            cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
    try:
        until(lambda: process.poll() is not None or "takes it down" in out.read_text(), UP_S)
        assert process.poll() is None, out.read_text()
        match = re.search(r"^(up-smoke-\w+) is up", out.read_text(), re.MULTILINE)
        assert match, out.read_text()
        yield match[1], out, process
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.docker
def test_it_is_seen_impaired_started_and_taken_down(
    up: tuple[str, Path, subprocess.Popen[str]], environment: dict[str, str]
) -> None:
    run, out, process = up

    def lab(*arguments: str) -> str:
        done = subprocess.run(
            [*LAB, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    nodes = {row["node"]: row for row in json.loads(lab("ps", "--json")) if row["run"] == run}
    assert set(nodes) == {"server", "master", "worker-0", "net-server", "net-worker-0"}
    assert nodes["server"]["addresses"]["data"]
    assert nodes["server"]["owner"] == process.pid

    def rtt_ms() -> float:
        return float(json.loads(lab("net", "probe", run, "worker-0", "server"))["rtt_ms"]["p50"])

    assert rtt_ms() < 60
    assert json.loads(lab("net", "set", run, "server", "delay=60ms"))[0]["delay_ms"] == 60
    assert rtt_ms() >= 60
    shown = json.loads(lab("net", "show", run, "--json"))
    assert [link["impairment"]["delay_ms"] for link in shown["server"]] == [60]
    assert shown["worker-0"] == []
    assert re.search(r"^server +to all +delay_ms 60", lab("net", "show", run), re.MULTILINE)
    lab("net", "clear", run, "server")
    assert rtt_ms() < 60

    lab("net", "go", run)
    until(lambda: "master: measure" in out.read_text(), 30)
    assert '"event": "ready"' in lab("logs", run, "server")
    lab("down", run)
    assert process.wait(30) == 0, out.read_text()
    assert not [row for row in json.loads(lab("ps", "--json")) if row["run"] == run]
