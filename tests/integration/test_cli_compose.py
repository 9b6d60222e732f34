"""A generated Compose file really brings the topology up: nodes ready, GO given, requests answered."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
from pathlib import Path

import pytest

from lab.engine import images
from lab.export import compose
from lab.verbs import shared
from tests.support.runtimes import docker_client, until

USERS, RATE, SECONDS = 4, 50, 1
SMALL = [
    f"swarm.users={USERS}", "swarm.spawn-rate=100", f"swarm.load.rate={RATE}/s", "swarm.drain=1s",
    f"swarm.phases.warmup={SECONDS}s", f"swarm.phases.measure={SECONDS}s",
]  # fmt: skip


def compose_command() -> list[str]:
    """Compose v2 as the client's plugin, else v1 (Debian's docker-compose)."""
    plugin = ["docker", "compose"]
    if shutil.which("docker") and subprocess.run([*plugin, "version"], capture_output=True).returncode == 0:
        return plugin
    if alone := shutil.which("docker-compose"):
        return [alone]
    pytest.skip("no compose command here: neither the docker plugin nor docker-compose")


def events(log: str) -> list[dict[str, object]]:
    lines = [line.partition("{") for line in log.splitlines()]
    return [json.loads(brace + rest) for _, brace, rest in lines if brace]


@pytest.mark.docker
def test_the_file_brings_the_topology_up(tmp_path: Path) -> None:
    command = compose_command()
    with docker_client() as client:
        tags = images.build(client, ["server", "swarm"], print)
    _, scenario = shared.load("smoke", SMALL)
    file = tmp_path / "smoke.yaml"
    file.write_text(compose.compose(scenario, file.name))
    for name, text in compose.profile_files(scenario).items():
        (tmp_path / name).write_text(text)
    (tmp_path / ".env").write_text("".join(f"LAB_IMAGE_{n.upper()}={tag}\n" for n, tag in tags.items()))
    project = ["-p", f"labtest{secrets.token_hex(4)}", "-f", file.name]

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [*command, *project, *arguments],
            cwd=tmp_path, capture_output=True, text=True, timeout=90, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def seen(service: str, event: str) -> list[dict[str, object]]:
        return [e for e in events(run("logs", "--no-color", service)) if e["event"] == event]

    try:
        run("up", "-d")
        until(lambda: seen("master", "ready"), 30)
        run("kill", "-s", "SIGUSR1", "master")
        until(lambda: seen("master", "result"), 30)
        (result,) = seen("master", "result")
        assert result["answered"] == result["sent"] == RATE * SECONDS
    finally:
        run("down", "-t", "2")
