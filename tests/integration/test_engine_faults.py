"""An engine that fails at any call: no hang, one clear error, soon, and nothing left in the end."""

from __future__ import annotations

import functools
import math
import os
import random
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lab.common.paths import ROOT
from lab.engine import images
from lab.engine.api import Engine, address
from lab.runtime import cleanup
from tests.support.faulty_engine import FAULTS, FaultyEngine
from tests.support.runtimes import docker_client, run_id

pytestmark = pytest.mark.docker

SEED = 20261123
CLEAR_S = 5.0
PER_FAULT = 3
NODE = 'import time; print(\'{"event": "ready"}\', flush=True); time.sleep(600)'


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with docker_client() as one:
        images.build(one, ["server"], print)
        yield one


def command(url: str, run: str, state: Path) -> subprocess.CompletedProcess[str]:
    """Every kind of call that a command makes, in a process of its own."""
    argv = [sys.executable, "-m", "tests.support.engine_user", run, str(state / "logs")]
    environment = {**os.environ, "DOCKER_HOST": url, "LAB_STATE_DIR": str(state)}
    return subprocess.run(
        argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def spoilt(client: Any, tmp_path: Path, fault: str, number: int, within_s: float = math.inf) -> str:
    """Run the command with one call spoilt. What came of it: "ok", or one clear error, so soon after it."""
    path, run = socket_path(), run_id()
    proxy = FaultyEngine(path, address(client.api), fault, number)
    try:
        done = command(proxy.url, run, tmp_path / run)
        ended = time.monotonic()
    finally:
        proxy.close()
        path.unlink(missing_ok=True)
        cleanup.remove_labelled(Engine(client.api), run)
    outcome = done.stdout.strip()
    # 2: a 404 to the creation of a container means that its image is missing
    expected = (0, 2, 3, 4) if fault == "404" else (0, 3, 4)
    assert done.returncode in expected, f"{fault} of {proxy.calls[number - 1]}: {done.stdout} {done.stderr}"
    assert done.stderr == ""
    assert (outcome == "ok") == (done.returncode == 0)
    assert proxy.struck_at is not None or done.returncode == 0, f"an error without a fault: {outcome}"
    if proxy.struck_at is not None and done.returncode:
        took = ended - proxy.struck_at
        assert took < within_s, f"{fault} of {proxy.calls[number - 1]}: {took:.1f} s until {outcome}"
        assert len(outcome.splitlines()) == 1
    return outcome


def socket_path() -> Path:
    """A path for a socket: it must be short (unix(7))."""
    return Path("/tmp") / f"lab-faulty-{secrets.token_hex(4)}.sock"


@pytest.fixture(scope="module")
def calls(client: Any, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The calls of an unspoilt command."""
    path = socket_path()
    proxy = FaultyEngine(path, address(client.api))
    done = command(proxy.url, run_id(), tmp_path_factory.mktemp("unspoilt"))
    proxy.close()
    path.unlink()
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "ok", "")
    return proxy.calls


def test_the_proxy_sees_every_kind_of_call(calls: list[str]) -> None:
    text = "\n".join(calls)
    for part in (
        "/version",
        "/info",
        "networks/create",
        "containers/create",
        "/attach",
        "/start",
        "/exec",
        "/kill",
    ):
        assert part in text
    assert "DELETE" in text
    assert len(calls) > 25


def some_of(calls: list[str], fault: str) -> list[int]:
    chance = random.Random(f"{SEED} {fault}")
    return chance.sample(range(1, len(calls) + 1), PER_FAULT)


@pytest.mark.parametrize("fault", FAULTS)
def test_one_clear_error(client: Any, calls: list[str], tmp_path: Path, fault: str) -> None:
    for number in some_of(calls, fault):
        print(number, spoilt(client, tmp_path, fault, number))


@pytest.mark.alone
@pytest.mark.parametrize("fault", FAULTS)
def test_within_five_seconds(client: Any, calls: list[str], tmp_path: Path, fault: str) -> None:
    with ThreadPoolExecutor(PER_FAULT) as pool:  # they mostly wait
        of = functools.partial(spoilt, client, tmp_path, fault, within_s=CLEAR_S)
        print(*pool.map(of, some_of(calls, fault)), sep="\n")


@pytest.mark.soak
@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_at_every_call(client: Any, calls: list[str], tmp_path: Path, fault: str) -> None:
    for number in range(1, len(calls) + 1):
        print(number, calls[number - 1], spoilt(client, tmp_path, fault, number, within_s=CLEAR_S))
