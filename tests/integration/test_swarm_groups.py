"""Two groups of the swarm in one run, in both runtimes: each with its own load and link, one window."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.lab_command import Project
from tests.support.runtimes import docker_client

# Groups begin in the same second if each master runs within 0.4 s of its signal: a busy host may not let it.
pytestmark = pytest.mark.alone

SCENARIO = """\
# Do two groups run as one?
name: groups
servers:
  epoll_lt: {model: epoll_lt}
swarm:
  browsers:
    users: 10
    workers: 1
    load: {executor: constant-arrival-rate, rate: 100/s}
    phases: {warmup: 1s, measure: 2s}
  holders:
    users: 40
    workers: 1
    load: {executor: constant-users, think-time: 500ms}
    phases: {warmup: 1s, measure: 2s}
"""
LINK = "links:\n  - {endpoints: [holders, servers], delay: 30ms}\n"


def measured(folder: Path, runtime: str, text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(summary, record of its one trial) of a run of that scenario."""
    project = Project(folder, text, "--no-repeats", "--no-calibration", "--runtime", runtime)
    project.run()
    return project.summary, project.record("epoll_lt-1")


def holds(summary: dict[str, Any], record: dict[str, Any]) -> None:
    """Both groups were measured in one window, and everything adds up to the request."""
    load = record["load"]
    groups = {name: one["result"] for name, one in load["groups"].items()}
    assert list(groups) == ["browsers", "holders"]
    windows = {tuple(one["window_mono_ms"]) for one in groups.values()}
    assert windows == {tuple(load["result"]["window_mono_ms"])}
    for key in ("sent", "answered", "failed"):
        assert load["result"]["whole"][key] == sum(one["whole"][key] for one in groups.values())
    whole = load["result"]["whole"]
    assert whole["failed"] == 0
    verified = sum(one["requests"] for one in record["verify"])
    assert record["server_stats"][-1]["requests"] == whole["answered"] + verified
    assert [w["node"] for w in load["result"]["workers"]] == ["browsers-worker-0", "holders-worker-0"]
    server = summary["servers"]["epoll_lt"]
    rates = {name: one["requests_per_s"]["value"] for name, one in server["groups"].items()}
    assert rates["browsers"] == 100  # all that were meant for the window, whenever their answers came
    assert 40 < rates["holders"] <= 80  # a closed load: it asks less where answers are late
    assert server["requests_per_s"]["value"] == sum(rates.values())
    assert server["connections_peak"] == 50
    assert "closed load of holders" in summary["stamps"]


def test_as_plain_processes(tmp_path: Path) -> None:
    holds(*measured(tmp_path, "local", SCENARIO))


@pytest.mark.docker
def test_in_containers_each_behind_its_own_link(tmp_path: Path) -> None:
    with docker_client():
        summary, record = measured(tmp_path, "docker", SCENARIO + LINK)
    holds(summary, record)
    groups = summary["servers"]["epoll_lt"]["groups"]
    near, far = (groups[name]["service_ms"]["p50"] for name in ("browsers", "holders"))
    [link] = record["links"]
    assert link["measured"]["before"]["rtt_min_ms"] >= 60
    assert far > 60
    assert near < far / 2
