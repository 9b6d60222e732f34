"""Nothing of a killed run stays and nothing of anybody else's goes: SIGKILL at any moment, many runs."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.common import proc
from lab.common.owner import OWNER, RUN, Owner
from lab.common.paths import ROOT
from lab.engine import images
from lab.runtime import cleanup, journal
from tests.support.runtimes import docker_client, run_id, until

GONE_S = 15.0
SEED = 20261123


@dataclass
class Run:
    """A stand-in orchestrator that runs."""

    id: str
    process: subprocess.Popen[str]

    def wait_for(self, word: str) -> None:
        """Read what it says until it says `word`."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.strip() == word:
                return
        raise AssertionError(f"run {self.id} ended ({self.process.wait()}) before '{word}'")

    def kill(self) -> None:
        """SIGKILL, and reap."""
        self.process.kill()
        self.process.wait(10)

    def watchdogs(self) -> list[int]:
        """Its watchdog processes."""
        found = []
        for pid in proc.pids():
            try:
                line = Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue
            if b"lab.runtime.watchdog" in line and self.id.encode() in line:
                found.append(pid)
        return found


class Runs:
    """Starts stand-ins and ends them all in the end."""

    def __init__(self, tmp_path: Path, client: Any | None, image: str = "") -> None:
        self.state = tmp_path / "state"
        self.client = client
        self._tmp_path = tmp_path
        self._image = image
        self._all: list[Run] = []

    def start(self, kind: str, stay_s: float = 60) -> Run:
        """Start one."""
        id_ = run_id()
        argv = [
            sys.executable,
            "-m",
            "tests.support.orchestrator",
            kind,
            id_,
            str(self._tmp_path / id_),
            str(stay_s),
        ]
        process = subprocess.Popen(
            [*argv, self._image],
            cwd=ROOT,
            env={**os.environ, "LAB_STATE_DIR": str(self.state)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._all.append(Run(id_, process))
        return self._all[-1]

    def left_of(self, run: Run) -> list[str]:
        """What is left of a run: containers, networks, processes, journals."""
        found: list[str] = []
        if self.client is not None:
            filters = {"label": f"{RUN}={run.id}"}
            found += [one["Names"][0] for one in self.client.api.containers(all=True, filters=filters)]
            found += [one["Name"] for one in self.client.api.networks(filters=filters)]
        for file in self.state.glob(f"journal/{run.id}.*.jsonl"):
            found.append(file.name)
        return found + [str(pid) for pid in marked(run)]

    def end(self) -> None:
        """Kill what runs and remove what is left, so that a failing test leaves nothing either."""
        for run in self._all:
            run.kill()
            if run.process.stdout:
                run.process.stdout.close()
        for run in self._all:
            until(lambda run=run: not self.left_of(run), GONE_S)


def marked(run: Run) -> list[int]:
    """Processes of the local runtime that belong to a run."""
    found = []
    for pid in proc.pids():
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        if f"LAB_RUN_MARK={run.id}/".encode() in environment and proc.start_ticks(pid) is not None:
            found.append(pid)
    return found


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runs]:
    monkeypatch.setenv("LAB_STATE_DIR", str(tmp_path / "state"))
    runs = Runs(tmp_path, None)
    yield runs
    runs.end()


@pytest.fixture
def containers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runs]:
    with docker_client() as client:
        image = images.build(client, ["server"], print)["server"]
        monkeypatch.setenv("LAB_STATE_DIR", str(tmp_path / "state"))
        runs = Runs(tmp_path, client, image)
        yield runs
        runs.end()


@pytest.fixture
def foreign(containers: Runs) -> Iterator[Any]:
    """A container and a network of somebody else's, with names and labels that look like the lab's."""
    client, name = containers.client, f"lab-{run_id()}-trial-1-server"
    assert client is not None
    network = client.networks.create(f"{name}-net", internal=True, labels={"lab": "1", "lab.runs": "x"})
    container = client.containers.create(
        containers._image, ["sleep", "600"], name=name, network=network.name, labels={"lab.image": "server"}
    )
    container.start()

    def is_there() -> bool:
        container.reload()
        network.reload()
        return bool(container.status == "running")

    yield is_there
    container.remove(force=True)
    network.remove()


def test_a_killed_local_run_leaves_no_process(local: Runs) -> None:
    run = local.start("local")
    run.wait_for("up")
    assert len(marked(run)) == 6
    scratch = Path(f"/proc/{marked(run)[0]}/cwd").readlink()
    run.kill()
    until(lambda: not local.left_of(run), GONE_S)
    assert not scratch.exists()


def test_a_local_run_that_ends_well_leaves_nothing_at_once(local: Runs) -> None:
    run = local.start("local", stay_s=0)
    assert run.process.wait(30) == 0
    assert local.left_of(run) == []
    assert run.watchdogs() == []


@pytest.mark.parametrize("number", range(6))
def test_a_local_run_killed_at_any_moment_leaves_nothing(local: Runs, number: int) -> None:
    run = local.start("local", stay_s=0)
    run.wait_for("begun")
    time.sleep(random.Random(SEED + number).uniform(0, 0.4))
    run.kill()
    until(lambda: not local.left_of(run), GONE_S)


def test_the_next_command_ends_what_even_the_watchdog_could_not(local: Runs) -> None:
    run = local.start("local")
    run.wait_for("up")
    for pid in run.watchdogs():
        os.kill(pid, signal.SIGKILL)
    run.kill()
    # PR_SET_PDEATHSIG took the first processes along; their children in sessions of their own live on.
    until(lambda: len(marked(run)) == 3)
    said: list[str] = []
    assert cleanup.reap(None, said.append) == [run.id]
    assert local.left_of(run) == []
    assert said == [f"removing what run {run.id} left: 3 processes"]
    assert cleanup.reap(None, said.append) == []


@pytest.mark.docker
def test_a_killed_run_leaves_nothing_and_foreign_things_stay(containers: Runs, foreign: Any) -> None:
    run = containers.start("docker")
    run.wait_for("up")
    assert len(containers.left_of(run)) == 3 + 2 + 1
    run.kill()
    until(lambda: not containers.left_of(run), GONE_S)
    assert foreign()


@pytest.mark.docker
def test_the_next_command_removes_what_even_the_watchdog_could_not(containers: Runs, foreign: Any) -> None:
    dead, living = containers.start("docker"), containers.start("docker")
    dead.wait_for("up")
    living.wait_for("up")
    for pid in dead.watchdogs():
        os.kill(pid, signal.SIGKILL)
    dead.kill()
    assert len(containers.left_of(dead)) == 6
    said: list[str] = []
    assert dead.id in cleanup.reap(containers.client, said.append)
    assert containers.left_of(dead) == []
    assert f"removing what run {dead.id} left: 3 containers, 2 networks" in said
    assert len(containers.left_of(living)) == 6
    assert foreign()


@pytest.mark.docker
def test_eight_runs_at_once_killed_at_any_moment_never_touch_each_other(
    containers: Runs, foreign: Any
) -> None:
    chance = random.Random(SEED)
    kept = [containers.start("docker", stay_s=600) for _ in range(2)]
    for run in kept:
        run.wait_for("up")
    killed = [containers.start("docker", stay_s=0.5) for _ in range(6)]
    for run in killed:
        run.wait_for("begun")
    # from before the first creation to after the last removal
    moments = sorted(chance.uniform(0, 8) for _ in killed)
    started = time.monotonic()
    for run, moment in zip(killed, moments, strict=True):
        time.sleep(max(0.0, started + moment - time.monotonic()))
        run.kill()
    until(lambda: not any(containers.left_of(run) for run in killed), GONE_S)
    assert [len(containers.left_of(run)) for run in kept] == [6, 6]
    assert foreign()


@pytest.mark.docker
def test_down_removes_one_run_even_a_living_one(containers: Runs, foreign: Any) -> None:
    one, other = containers.start("docker"), containers.start("docker")
    one.wait_for("up")
    other.wait_for("up")
    said: list[str] = []
    cleanup.down(containers.client, None, said.append)
    assert any(
        f"run {one.id} still runs (process {one.process.pid}) and was not removed" in line for line in said
    )
    cleanup.down(containers.client, one.id, said.append)
    assert containers.left_of(one) == []
    assert len(containers.left_of(other)) == 6


@pytest.mark.soak
@pytest.mark.docker
def test_three_hundred_moments(containers: Runs, foreign: Any) -> None:
    chance = random.Random(os.urandom(8))
    for _ in range(300):
        run = containers.start("docker", stay_s=0.2)
        run.wait_for("begun")
        time.sleep(chance.uniform(0, 4))
        run.kill()
        until(lambda run=run: not containers.left_of(run), GONE_S)
        assert foreign()


def test_a_torn_journal_is_read_as_far_as_it_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_STATE_DIR", str(tmp_path))
    me = Owner.myself()
    dead = Owner(me.boot, me.namespace, me.pid, me.started - 1)
    book = journal.Journal("run-1", dead)
    book.will("container", "lab-run-1-a")
    with book.path.open("a") as file:
        file.write('{"will": "cont')
    (entry,) = journal.found()
    assert (entry.run, entry.dead, entry.names) == ("run-1", True, {"container": ["lab-run-1-a"]})
    book.close(all_gone=True)
    assert list(journal.found()) == []


def test_an_owner_is_dead_only_where_that_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    me = Owner.myself()
    assert me.alive() is True
    assert Owner.parse(str(me)) == me
    assert Owner(me.boot, me.namespace, me.pid, me.started - 1).alive() is False
    assert Owner("another boot", me.namespace, me.pid, me.started).alive() is None
    assert Owner(me.boot, "another", me.pid, me.started).alive() is None
    assert Owner.parse("nonsense") is None


def test_labels_that_nobody_here_can_judge_die_by_their_deadline() -> None:
    from lab.common.owner import DEADLINE, is_dead

    far = str(Owner("another boot", "1", 1, 1))
    assert not is_dead({OWNER: far, DEADLINE: str(int(time.time()) + 60)})
    assert is_dead({OWNER: far, DEADLINE: str(int(time.time()) - 60)})
    assert not is_dead({OWNER: "nonsense"})
    assert not is_dead(json.loads("{}"))
