"""Finding, starting and stopping the Docker engine, on a second engine beside the one that everybody uses."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lab.common import proc
from lab.common.errors import HostCannot
from lab.engine import connect, dockerd
from lab.engine.dockerd import Daemon
from tests.support.runtimes import until

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may start an engine"),
    pytest.mark.skipif(
        shutil.which("dockerd") is None, reason="dockerd is not installed: apt-get install docker.io"
    ),
]


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """An engine of its own in a network namespace of its own, so that the host's network stays as it is.

    Without one even `--bridge=none` touches it: such an engine removes docker0, the other engine's bridge.
    """
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(connect, "SYSTEMD", tmp_path / "no-systemd")
    place = Path("/tmp") / f"lab-engine-{secrets.token_hex(4)}"  # a socket's path must be short (unix(7))
    place.mkdir()
    one = Daemon(
        state=place,
        url=f"unix://{place}/docker.sock",
        pidfile=place / "docker.pid",
        exec_root=place / "exec",
        arguments=("--data-root", f"{place}/data", "--bridge=none", "--iptables=false"),
        command=("unshare", "--net", "dockerd"),
    )
    bridge = Path("/sys/class/net/docker0")
    was_there = bridge.exists()
    yield one
    assert bridge.exists() == was_there, "the other engine's bridge was touched"
    try:
        dockerd.stop(one)
    finally:
        _end_containerd(one)
        # dockerd mounts its data root upon itself, and one that is killed leaves that behind, busy until all
        # that used it have gone
        if f" {place}/data " in Path("/proc/self/mounts").read_text():
            umount = ["umount", place / "data"]
            until(lambda: subprocess.run(umount, capture_output=True, check=False).returncode == 0, 10)
        shutil.rmtree(place, ignore_errors=True)


def test_it_is_started_found_again_and_stopped(daemon: Daemon) -> None:
    said: list[str] = []
    assert connect.connect(daemon) is None
    client = connect.ensure(said.append, daemon)
    facts = connect.facts(client)
    client.close()
    assert len(said) == 1
    assert said[0].startswith("Docker engine: started in")
    assert "make down ENGINE=1" in said[0]
    assert facts["cgroup_version"] in ("1", "2")
    assert facts["containers_running"] == 0
    json.dumps(facts)

    again = connect.ensure(said.append, daemon)
    again.close()
    assert len(said) == 1

    assert connect.stop(said.append, daemon)
    assert connect.connect(daemon) is None
    assert not connect.stop(said.append, daemon)
    assert "nothing to stop" in said[-1]


def test_it_outlives_the_command_that_started_it_and_holds_none_of_its_pipes(daemon: Daemon) -> None:
    code = (
        "from pathlib import *; from lab.engine import connect; from lab.engine.dockerd import Daemon\n"
        f"connect.SYSTEMD = Path('/nowhere'); connect.ensure(print, {daemon!r}).close()"
    )
    # capture_output waits for end-of-file on both pipes: it would never come if dockerd held them.
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert "Docker engine: started" in done.stdout
    client = connect.connect(daemon)
    assert client is not None
    client.close()


@pytest.mark.parametrize("its_containerd_too", [False, True])
def test_a_killed_engine_is_started_again(daemon: Daemon, its_containerd_too: bool) -> None:
    connect.ensure(print, daemon).close()
    pid = json.loads(daemon.record.read_text())["pid"]
    killed = [pid]
    if its_containerd_too:
        killed.append(int((daemon.exec_root / "containerd/containerd.pid").read_text()))
    for one in killed:
        os.kill(one, signal.SIGKILL)
    until(lambda: all(proc.start_ticks(one) is None for one in killed))
    assert daemon.pidfile.exists()
    connect.ensure(print, daemon).close()
    assert json.loads(daemon.record.read_text())["pid"] != pid


def test_pid_files_that_name_other_processes_are_removed(daemon: Daemon) -> None:
    (daemon.exec_root / "containerd").mkdir(parents=True)
    for file in (daemon.pidfile, daemon.exec_root / "containerd/containerd.pid"):
        file.write_text(str(os.getpid()))  # alive, but neither dockerd nor containerd
    connect.ensure(print, daemon).close()


def test_an_engine_that_the_lab_did_not_start_is_never_stopped(daemon: Daemon) -> None:
    connect.ensure(print, daemon).close()
    record = json.loads(daemon.record.read_text())
    daemon.record.write_text(json.dumps({**record, "started": record["started"] - 1}))
    said: list[str] = []
    assert not connect.stop(said.append, daemon)
    assert proc.start_ticks(record["pid"]) == record["started"]
    daemon.record.write_text(json.dumps(record))


def test_an_engine_that_cannot_start_is_explained_by_its_last_words(daemon: Daemon) -> None:
    broken = replace(daemon, arguments=("--no-such-flag",))
    with pytest.raises(HostCannot, match=r"dockerd ended at once: .*; its log: "):
        connect.ensure(print, broken)


def test_where_it_may_not_it_says_what_to_run(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(HostCannot, match=r"sudo apt-get install docker\.io"):
        connect.ensure(print, daemon)


def test_an_engine_named_by_the_environment_is_never_replaced(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{daemon.state}/none.sock")
    with pytest.raises(HostCannot, match=r"no Docker engine answers at .*none\.sock \(DOCKER_HOST\)"):
        connect.ensure(print)


def test_an_engine_that_hangs_is_named_within_five_seconds(daemon: Daemon) -> None:
    path = daemon.url.removeprefix("unix://")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        with pytest.raises(HostCannot, match=r"does not answer as expected within 3 s"):
            connect.ensure(print, daemon)


def test_two_commands_at_once_start_one_engine(daemon: Daemon) -> None:
    said: list[str] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            connect.ensure(said.append, daemon).close()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert errors == []
    assert len([line for line in said if "started in" in line]) == 1


def _end_containerd(daemon: Daemon) -> None:
    """A killed dockerd leaves its containerd behind; end the one that this test's engine named."""
    file = daemon.exec_root / "containerd/containerd.pid"
    if file.exists():
        pid = int(file.read_text())
        if str(daemon.exec_root) in Path(f"/proc/{pid}/cmdline").read_text():
            os.kill(pid, signal.SIGTERM)
            until(lambda: proc.start_ticks(pid) is None)
