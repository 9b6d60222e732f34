"""`lab compare --ab` on the real engine: no change is no regression, a handler a fifth slower is named.

LAB_AB_PAIRS (10) and LAB_AB_TRIES (10, of no change) make it shorter or longer; figures: pytest -rP. What a
fifth is, is measured: CPU per request of this commit's server, and of one whose handler spins a known number
of times.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lab.common.paths import ROOT
from lab.run import ab
from tests.support import lab_command
from tests.support.runtimes import docker_client

pytestmark = [pytest.mark.docker, pytest.mark.soak]
PAIRS, TRIES = (int(os.environ.get(f"LAB_AB_{name}", "10")) for name in ("PAIRS", "TRIES"))
TRIAL_S = 30.0  # for one trial, at the very most
# As short as honesty allows: the speed of a shared host's CPUs changes from second to second, by a tenth and
# more. The server is kept busy: what a wake-up costs an idle one depends on who else is on the host.
SCENARIO = """\
# Does a version cost more CPU?
name: ab
servers:
{servers}
swarm:
  users: 50
  workers: 1
  spawn-rate: 500
  load: {{executor: constant-users, think-time: 2ms}}
  phases: {{warmup: 1s, measure: 5s}}
  connect-deadline: 2s
  request-timeout: 2s
  drain: 1s
repeat: {repeat}
"""
HELLO = "images/server/iomodels/handlers/hello.py"
ANSWER = "        del payload\n"
SLOWER = ANSWER + "        for _ in range({loops}):\n            pass\n"
SHARE = 0.20
PROBE_LOOPS, PROBE_REPEATS = 400, 10


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.invalid", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True, timeout=60)


def lab(folder: Path, *arguments: object, trials: int, codes: tuple[int, ...]) -> Any:
    """What the command tells as JSON; how long a trial took is printed."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("LAB_")}
    began, deadline_s = time.monotonic(), 60 + TRIAL_S * trials
    with docker_client():
        done = lab_command.lab(
            *arguments, "--json", "--results", folder / "results", code=codes, env=kept, deadline_s=deadline_s
        )
    print(f"{trials} trials, {(time.monotonic() - began) / trials:.1f} s each")
    return json.loads(done.stdout)


def slower(clone: Path, tag: str, loops: int) -> None:
    """A version whose hello handler spins."""
    git(clone, "checkout", "-q", "fast")
    text = (clone / HELLO).read_text()
    assert ANSWER in text
    (clone / HELLO).write_text(text.replace(ANSWER, SLOWER.format(loops=loops)))
    git(clone, "commit", "-q", "-a", "-m", tag)
    git(clone, "tag", tag)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone where `fast` is this checkout's commit."""
    folder = tmp_path_factory.mktemp("ab") / "clone"
    git(ROOT, "clone", "-q", "--no-hardlinks", str(ROOT), str(folder))
    git(folder, "tag", "fast")
    return folder


def loops_for(clone: Path, share: float) -> int:
    """How often the handler has to spin to cost this share of a request's CPU time more, by measurement."""
    slower(clone, "probe", PROBE_LOOPS)
    with docker_client() as client:
        images = {v.asked: v.image for v in ab.versions(client, ["fast", "probe"], print, clone)}
    servers = "".join(f"  {name}: {{model: epoll_lt, image: '{i}'}}\n" for name, i in images.items())
    path = clone.parent / "probe.yaml"
    path.write_text(SCENARIO.format(servers=servers, repeat=PROBE_REPEATS))
    found = lab(
        clone.parent, "run", path, "--runtime", "docker", "--no-calibration",
        trials=2 * PROBE_REPEATS, codes=(0, 5),
    )  # fmt: skip
    each = {name: found["servers"][name]["per_trial"] for name in images}
    us = {name: statistics.median(t["cpu_us_per_request"] for t in each[name]) for name in images}
    per_loop_us = (us["probe"] - us["fast"]) / PROBE_LOOPS
    assert per_loop_us > 0, us
    loops = round(share * us["fast"] / per_loop_us)
    print(f"CPU per request {us['fast']:.2f} µs; {1000 * per_loop_us:.1f} ns a turn: {loops} turns")
    return loops


def compared(clone: Path, base: str, head: str, codes: tuple[int, ...]) -> Mapping[str, Any]:
    """The comparison as --json tells it; its row of the CPU time per request is printed."""
    scenario = clone.parent / "ab.yaml"
    scenario.write_text(SCENARIO.format(servers="  epoll_lt: {model: epoll_lt}\n", repeat=1))
    found: dict[str, Any] = lab(
        clone.parent, "compare", "--ab", base, head, scenario, "--repository", clone, "--pairs", PAIRS,
        "--metric", "cpu_us_per_request", "--fail-on-regression", "--no-calibration",
        trials=2 * PAIRS, codes=codes,
    )  # fmt: skip
    row = cpu(found)
    print({key: row[key] for key in ("base", "head", "ratio", "ci95", "mde", "pairs", "decision")})
    return found


def cpu(found: Mapping[str, Any]) -> Mapping[str, Any]:
    [server] = found["heads"][0]["servers"]
    assert (server["server"], server["head_server"]) == ("epoll_lt.base", "epoll_lt.head")
    row: dict[str, Any] = next(m for m in server["metrics"] if m["metric"] == "cpu_us_per_request")
    return row


@pytest.mark.timeout(60 + TRIAL_S * 2 * (PROBE_REPEATS + PAIRS))
def test_a_handler_a_fifth_slower_is_found_and_named(clone: Path) -> None:
    slower(clone, "slow", loops_for(clone, SHARE))
    found = compared(clone, "fast", "slow", (99,))
    assert (found["decision"], cpu(found)["decision"]) == ("REGRESSION", "REGRESSION")
    assert cpu(found)["ratio"] == pytest.approx(1 + SHARE, abs=0.5 * SHARE)
    written = clone.parent / "results/latest/comparison.md"
    assert "cpu_us_per_request REGRESSION" in written.read_text()


@pytest.mark.parametrize("attempt", range(1, TRIES + 1))
@pytest.mark.timeout(120 + TRIAL_S * 2 * PAIRS)
def test_a_version_against_itself_is_no_regression(clone: Path, attempt: int) -> None:
    print(f"try {attempt} of {TRIES}")
    found = compared(clone, "fast", "fast", (0, 5))
    assert "REGRESSION" not in (found["decision"], cpu(found)["decision"])
    assert 0.8 < cpu(found)["ratio"] < 1.25
