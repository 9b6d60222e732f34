"""`lab compare --ab` on the real engine: no change is no regression, a handler a fifth slower is named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.runtimes import docker_client

pytestmark = [pytest.mark.docker, pytest.mark.soak]
ROOT = Path(__file__).resolve().parents[2]
PAIRS = 6
SCENARIO = """\
# Does a version cost more CPU?
name: ab
servers: {asyncio: {model: asyncio}}
swarm:
  users: 50
  workers: 1
  spawn-rate: 100
  load: {executor: constant-users, think-time: 2ms}
  phases: {warmup: 1s, measure: 2s}
  connect-deadline: 2s
  request-timeout: 2s
  drain: 1s
"""
HELLO = "images/server/iomodels/handlers/hello.py"
ANSWER = "        del payload\n"
# The server is kept busy: what a wake-up costs an idle one depends on who else is on the host.
SLOWER = ANSWER + "        for _ in range({loops}):\n            pass\n"
LOOPS = 250


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.invalid", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True, timeout=60)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone with two versions: `fast`, this checkout's commit, and `slow`, whose hello handler spins."""
    folder = tmp_path / "clone"
    git(ROOT, "clone", "-q", "--no-hardlinks", str(ROOT), str(folder))
    git(folder, "tag", "fast")
    text = (folder / HELLO).read_text()
    assert ANSWER in text
    (folder / HELLO).write_text(text.replace(ANSWER, SLOWER.format(loops=LOOPS)))
    git(folder, "commit", "-q", "-a", "-m", "slower")
    git(folder, "tag", "slow")
    return folder


def ab(clone: Path, base: str, head: str, code: tuple[int, ...]) -> Mapping[str, Any]:
    """The comparison as --json tells it."""
    scenario = clone.parent / "ab.yaml"
    scenario.write_text(SCENARIO)
    kept = {k: v for k, v in os.environ.items() if not k.startswith("LAB_SET_")}
    command = [sys.executable, "-m", "lab.cli", "compare", "--ab", base, head, scenario, "--json"]
    command += ["--repository", clone, "--results", clone.parent / "results", "--pairs", PAIRS]
    command += ["--metric", "cpu_us_per_request", "--fail-on-regression"]
    with docker_client():
        done = subprocess.run(
            list(map(str, command)), cwd=ROOT, env=kept, capture_output=True, text=True, timeout=280
        )
    assert done.returncode in code, done.stdout + done.stderr
    print(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def cpu(found: Mapping[str, Any]) -> Mapping[str, Any]:
    [server] = found["heads"][0]["servers"]
    assert (server["server"], server["head_server"]) == ("asyncio.base", "asyncio.head")
    row: dict[str, Any] = next(m for m in server["metrics"] if m["metric"] == "cpu_us_per_request")
    print({key: row[key] for key in ("base", "head", "ratio", "ci95", "mde", "pairs", "decision")})
    return row


@pytest.mark.timeout(300)
def test_a_handler_a_fifth_slower_is_found_and_named(clone: Path) -> None:
    found = ab(clone, "fast", "slow", (99,))
    assert found["decision"] == "REGRESSION"
    assert cpu(found)["decision"] == "REGRESSION"
    assert cpu(found)["ratio"] > 1.1
    written = clone.parent / "results/latest/comparison.md"
    assert "cpu_us_per_request REGRESSION" in written.read_text()


@pytest.mark.timeout(300)
def test_a_version_against_itself_is_no_regression(clone: Path) -> None:
    found = ab(clone, "fast", "fast", (0, 5))
    assert found["decision"] != "REGRESSION"
    assert 0.8 < cpu(found)["ratio"] < 1.25
