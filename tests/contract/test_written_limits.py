"""What a scenario writes of a server is in force in the node that runs: read back from the kernel."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.common.errors import UsageError
from lab.plan.render import render
from lab.plan.topology import Topology
from lab.run import session
from lab.run.open_runtime import open_runtime
from lab.runtime import Deployment, Runtime
from lab.runtime.local import LocalRuntime
from lab.scenario.resolve import load
from lab.scenario.server import Server
from tests.support.runtimes import docker_runtime, run_id

SCENARIO = """\
# Is what is written in force?
name: written
servers: {{small: {{{server}}}}}
swarm: {{users: 100, workers: 1, load: {{executor: constant-users, think-time: 1s}}}}
"""
# Every key of a server, less than what 100 users need where that is not refused, and none of them a default.
WRITTEN = {
    "model": "thread", "port": 9177, "workers": 2, "backlog": 77, "cpus": 0.5, "memory": "160MiB",
    "nofile": 64, "pids": 40,
}  # fmt: skip
READ_BACK: dict[str, Callable[[Deployment], object]] = {
    "model": lambda up: ready(up)["model"],
    "port": lambda up: ready(up)["port"],
    "workers": lambda up: ready(up)["workers"],
    "backlog": lambda up: ready(up)["backlog"],
    "cpus": lambda up: cgroup(up, "cpu.max", "cpu/cpu.cfs_quota_us", lambda text: int(text.split()[0]) / 1e5),
    "memory": lambda up: cgroup(up, "memory.max", "memory/memory.limit_in_bytes", int),
    "nofile": lambda up: open_files(up.pids("server")[0]),
    "pids": lambda up: cgroup(up, "pids.max", "pids/pids.max", int),
}
EXPECTED = WRITTEN | {"memory": 160 << 20}
OF_LOCAL = {key: value for key, value in WRITTEN.items() if key not in ("cpus", "memory", "pids")}


def ready(up: Deployment) -> Any:
    return up.wait_event("server", "ready", 15)


def cgroup(up: Deployment, v2: str, v1: str, read: Callable[[str], object]) -> object:
    """Read a limit from the node's control group."""
    path, root = (up.cgroup("server") or "").strip("/"), Path("/sys/fs/cgroup")
    controller, _, file = v1.partition("/")
    found = [p for p in (root / path / v2, root / controller / path / file) if p.is_file()]
    return read(found[0].read_text().strip())


def open_files(pid: int) -> int:
    """Return the soft limit of open files of a process; it is the hard one too."""
    limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
    soft, hard = next(line for line in limits if line.startswith("Max open files")).split()[3:5]
    assert soft == hard
    return int(soft)


def topology(runtime: Runtime, folder: Path, written: dict[str, Any]) -> Topology:
    """Render the scenario, its server only."""
    path = folder / "written.yaml"
    path.write_text(SCENARIO.format(server=", ".join(f"{key}: {value}" for key, value in written.items())))
    prepared = session.prepare(load(path, lab_yaml=folder / "lab.yaml"))
    prepared.capacity.require()
    where, trial = runtime.addressing(folder), prepared.plan.trials[0]
    whole = render(run_id(), prepared.plan, trial, prepared.capacity, prepared.placement, where)
    return Topology(whole.run, whole.trial, whole.nodes[:1], whole.networks)


def test_every_key_of_a_server_is_read_back() -> None:
    assert {*READ_BACK} == {*WRITTEN} == {*Server.model_fields} - {"image"}


@pytest.mark.docker
def test_in_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_STATE_DIR", str(tmp_path / "state"))
    with (
        docker_runtime("server") as runtime,
        runtime.up(topology(runtime, tmp_path, WRITTEN), tmp_path / "logs") as up,
    ):
        ready(up)
        assert {key: read(up) for key, read in READ_BACK.items()} == EXPECTED


def test_as_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_STATE_DIR", str(tmp_path / "state"))
    runtime = LocalRuntime()
    with runtime.up(topology(runtime, tmp_path, OF_LOCAL), tmp_path / "logs") as up:
        ready(up)
        assert {key: READ_BACK[key](up) for key in OF_LOCAL} == OF_LOCAL


@pytest.mark.parametrize("key", sorted(WRITTEN.keys() - OF_LOCAL.keys()))
def test_a_limit_that_processes_cannot_have_is_refused(tmp_path: Path, key: str) -> None:
    path = tmp_path / "written.yaml"
    path.write_text(SCENARIO.format(server=f"model: thread, {key}: {WRITTEN[key]}"))
    prepared = session.prepare(load(path, lab_yaml=tmp_path / "lab.yaml"))
    with (
        pytest.raises(
            UsageError, match=rf"written.yaml:3:\d+: servers.small.{key}: the local runtime cannot"
        ),
        open_runtime("local", prepared, print),
    ):
        pytest.fail("it was opened")


def test_nothing_of_the_callers_environment_reaches_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaked = {"LAB_NODELAY": "off", "LAB_OPTIONS": "x=y", "PYTHONASYNCIODEBUG": "1", "MALLOC_ARENA_MAX": "1"}
    for name, value in (leaked | {"LAB_STATE_DIR": str(tmp_path / "state")}).items():
        monkeypatch.setenv(name, value)
    runtime = LocalRuntime()
    with runtime.up(topology(runtime, tmp_path, OF_LOCAL), tmp_path / "logs") as up:
        ready(up)
        environment = Path(f"/proc/{up.pids('server')[0]}/environ").read_text().split("\0")
        asked = up.exec("server", ["python", "-c", "import json, os; print(json.dumps([*os.environ]))"], 10)
    assert not leaked.keys() & {line.partition("=")[0] for line in environment}
    assert not leaked.keys() & {*json.loads(asked.out)}
