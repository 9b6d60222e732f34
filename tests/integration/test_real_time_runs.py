"""Engines and delay lines on the real engine: in the real-time class, throttled, refused, killed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.runtime import realtime
from tests.support.lab_command import Project, read_until, said
from tests.support.real_time import SCHED_RR, budget_taken, need_budget, only_one, stat_policy
from tests.support.runtimes import docker_client, until

pytestmark = [pytest.mark.docker, pytest.mark.root]

GONE_S = 15.0
SCENARIO = """\
# In which class does what run?
name: classes
servers:
  epoll_lt: {model: epoll_lt}
swarm:
  users: 20
  workers: 1
  spawn-rate: 100
  load: {executor: constant-arrival-rate, rate: 1000/s}
  phases: {warmup: 1s, measure: 4s}
  connect-deadline: 2s
  request-timeout: 2s
  drain: 2s
links:
  - {endpoints: [swarm, servers], delay: 5ms}
"""
OPTIONS = ("--runtime", "docker", "--no-calibration", "--no-repeats")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    monkeypatch.delenv("LAB_REAL_TIME", raising=False)
    with docker_client(), only_one():
        need_budget()
        yield Project(tmp_path, SCENARIO, *OPTIONS)


def group_of(project: Project) -> Path:
    """The control group of the run that has begun."""
    [path] = realtime.CPU_ROOT.glob(f"lab-{project.run_id}-*")
    return path


def test_engine_and_delay_lines_are_real_time_and_the_server_is_not(project: Project) -> None:
    with project.start() as process:
        read_until(process, "measure")
        members = [int(line) for line in (group_of(project) / "cgroup.procs").read_text().split()]
        assert [stat_policy(pid) for pid in members] == [SCHED_RR] * 3
        lines = [Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ") for pid in members]
        assert sorted(line.split(b" -m ")[1].split()[1] for line in lines) == [b"delayline"] * 2 + [b"engine"]
        process.communicate()
    assert not list(realtime.CPU_ROOT.glob(f"lab-{project.run_id}-*"))
    told = {(one["node"], one["task"]): one for one in project.record("epoll_lt-1")["scheduling"]}
    assert {key: (one["policy"], one["policy_at_end"]) for key, one in told.items()} == {
        ("server", "server"): ("SCHED_OTHER", "SCHED_OTHER"),
        ("worker-0", "engine 0"): ("SCHED_RR", "SCHED_RR"),
        ("net-worker-0", "delay line"): ("SCHED_RR", "SCHED_RR"),
        ("net-server", "delay line"): ("SCHED_RR", "SCHED_RR"),
    }
    assert project.summary["checks"]["real_time_throttled"] == {"ok": 1}
    assert "SCHED_RR (set from outside" in project.summary["environment"]["scheduling"]["engines"]


def test_a_budget_that_is_too_small_makes_the_trial_invalid(project: Project) -> None:
    with project.start() as process:
        read_until(process, "warmup")
        (group_of(project) / "cpu.rt_runtime_us").write_text("10000")
        out, err = process.communicate()
    assert process.returncode == 5, out + err
    assert "was throttled for" in said(project.summary, "real_time_throttled")


def test_without_a_budget_the_run_goes_on_in_the_usual_class_and_says_so(project: Project) -> None:
    with budget_taken(f"test-{os.getpid()}"):
        project.run()
    told = [one for one in project.record("epoll_lt-1")["scheduling"] if one["node"] != "server"]
    assert [one["policy"] for one in told] == ["SCHED_OTHER"] * 3
    for one in told:
        assert "by itself: sched_setscheduler(2): Operation not permitted" in one["why_not"]
        assert "from outside: 0 ms of real-time budget are free" in one["why_not"]
    assert "generator: not in the real-time class" in project.summary["stamps"]
    assert "real_time_throttled" not in project.summary["checks"]


def test_the_budget_is_given_back_after_sigkill(project: Project) -> None:
    with project.start() as process:
        read_until(process, "measure")
        group = group_of(project)
        assert realtime.free_budget_us(realtime.CPU_ROOT) == 0
        process.kill()
        process.communicate()
    until(lambda: not group.exists(), GONE_S)
