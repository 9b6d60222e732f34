"""The user's own Locust, in both runtimes: the same records, stamped with where their times come from."""

from __future__ import annotations

import json
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lab.engine import images
from lab.results.load import LocustCount
from lab.results.record import TrialRecord
from lab.results.store import read_series
from tests.support.lab_command import Project
from tests.support.runtimes import docker_client

SCENARIO = """\
# Do my own users work?
name: own
servers:
  epoll_lt: {model: epoll_lt}
swarm:
  locustfile: mine/users.py
  users: 6
  workers: 1
  spawn-rate: 20
  phases: {warmup: 1s, measure: 2s}
"""
LOCUSTFILE = """\
from locust import FastHttpUser, constant, task


class Mine(FastHttpUser):
    wait_time = constant(0.05)

    @task
    def plaintext(self):
        self.client.get("/plaintext")
"""


def own(folder: Path, runtime: str) -> TrialRecord:
    """The one trial of a run of SCENARIO, after what must hold of its folder and summary."""
    (folder / "mine").mkdir()
    (folder / "mine/users.py").write_text(LOCUSTFILE)
    project = Project(folder, SCENARIO, "--runtime", runtime, "--trusted", "--no-repeats")
    project.run()
    summary = project.summary
    assert "times by locust users, in steps of 1 µs" in summary["stamps"]
    assert "closed load" in summary["stamps"]
    checks = summary["checks"]
    assert {"own_users", "outcomes", "server_count", "locust_count"} < set(checks)
    assert not {"lateness", "omission", "little_law", "offered_load"} & set(checks)
    assert (project.latest / "mine/users.py").read_text() == LOCUSTFILE  # so that `lab rerun` finds it
    series, _ = read_series(project.latest / "trials/epoll_lt-1/series.csv")
    return TrialRecord.from_json(project.record("epoll_lt-1"), series)


def holds(record: TrialRecord) -> None:
    """Conservation, to the request: Locust's, the server's and our own count."""
    assert record.load is not None
    whole = record.load.result.whole
    assert whole.sent == whole.answered >= 6  # each user at least once
    assert record.load.result.locust == LocustCount(requests=whole.sent, failures=0)
    verified = sum(one.requests for one in record.verify)
    assert record.server_stats[-1].requests == whole.answered + verified
    assert set(whole.parts_hdr) == {"/plaintext"}
    assert record.load.result.timing.source == "locust users"


def test_as_plain_processes(tmp_path: Path) -> None:
    holds(own(tmp_path, "local"))


def swarm_image(folder: Path) -> tuple[str, str]:
    """The image that a run in containers made, and this host's machine."""
    environment = json.loads((folder / "results/latest/manifest.json").read_text())["environment"]
    return environment["images"]["swarm"], environment["host"]["machine"]


@pytest.mark.docker
def test_in_containers_by_one_more_layer(tmp_path: Path) -> None:
    with docker_client() as client:
        holds(own(tmp_path, "docker"))
        tag, machine = swarm_image(tmp_path)
        made = client.images.get(tag)
        try:
            below = client.images.get(images.tag("swarm", machine))
            assert made.attrs["RootFS"]["Layers"][:-1] == below.attrs["RootFS"]["Layers"]
            assert made.labels["lab.image"] == "swarm"  # so that `lab clean` finds it
        finally:
            client.images.remove(tag)


def sent(folder: Path, runtime: str) -> int:
    """How many requests six users sent in three seconds."""
    load = own(folder, runtime).load
    assert load is not None
    return load.result.whole.sent


@pytest.mark.docker
@pytest.mark.alone
def test_more_than_thirty_requests_in_either_runtime(tmp_path: Path) -> None:
    folders = {runtime: Path(tempfile.mkdtemp(dir=tmp_path)) for runtime in ("local", "docker")}
    with docker_client() as client:
        # At once: each waits most of the time.
        with ThreadPoolExecutor(len(folders)) as pool:
            found = dict(zip(folders, pool.map(sent, folders.values(), folders), strict=True))
        client.images.remove(swarm_image(folders["docker"])[0])
    assert min(found.values()) > 30, found
