"""Two groups of the swarm in one run, in both runtimes: each with its own load and link, one window."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.runtimes import docker_client

ROOT = Path(__file__).resolve().parents[2]
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
# Few requests, and a busy machine may make them late: that they came about, and add up, is tested.
MEASURED = (0, 5)


def measured(folder: Path, runtime: str, text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(summary, record of its one trial) of a run of that scenario."""
    (folder / "groups.yaml").write_text(text)
    command = [sys.executable, "-m", "lab.cli", "run", folder / "groups.yaml", "--runtime", runtime, "--json"]
    command += ["--no-repeats", "--no-calibration", "--results", folder / "results"]
    done = subprocess.run(
        [str(word) for word in command], cwd=ROOT, capture_output=True, text=True, timeout=100
    )
    assert done.returncode in MEASURED, done.stdout + done.stderr
    record = json.loads((folder / "results/latest/trials/epoll_lt-1/record.json").read_text())
    return json.loads(done.stdout), record


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
    assert rates["browsers"] == 100
    assert 40 < rates["holders"] <= 80
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
    assert far > 60
    assert near < far / 2
