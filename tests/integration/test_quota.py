"""CPU quotas that nobody told the lab of: on the server's container, on a control group above a process."""

import os
import secrets
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from lab.analysis import checks
from lab.collect.cgroup import CGROUP_ROOT, Cgroup
from tests.support.lab_command import Project, said
from tests.support.records import WINDOW_MS, series, trial
from tests.support.runtimes import docker_client, until

SCENARIO = """\
# Who holds the server back?
name: quota
servers:
  epoll_lt: {model: epoll_lt}
swarm:
  users: 20
  workers: 1
  load: {executor: constant-arrival-rate, rate: 200/s}
  phases: {warmup: 1s, measure: 10s}
  drain: 1s
"""
OPTIONS = ("--no-calibration", "--no-repeats", "--runtime", "docker")
VERSION_2 = (CGROUP_ROOT / "cgroup.controllers").exists()
HIERARCHY = CGROUP_ROOT if VERSION_2 else CGROUP_ROOT / "cpu"


@pytest.mark.docker
def test_a_quota_set_on_the_server_from_outside_is_seen(tmp_path):
    project = Project(tmp_path, SCENARIO, *OPTIONS)
    log = "*/trials/epoll_lt-1/master.log"
    with docker_client() as client, project.start() as process:
        until(lambda: any('"measure"' in file.read_text() for file in project.results.glob(log)), 45)
        labelled = client.api.containers(filters={"label": f"lab.run={project.run_id}"})
        [server] = [one["Id"] for one in labelled if one["Names"][0].endswith("server")]
        client.api.update_container(server, cpu_period=100_000, cpu_quota=1_000)
        process.communicate(timeout=120)
    assert "the server was throttled in" in said(project.summary, "throttled"), project.summary["findings"]


@contextmanager
def group_in_group():
    """A control group within another, with a process that takes all it gets; both are gone afterwards."""
    outer = HIERARCHY / f"lab-test-{secrets.token_hex(4)}"
    inner = outer / "inner"
    try:
        outer.mkdir()
        if VERSION_2:
            (outer / "cgroup.subtree_control").write_text("+cpu")
        inner.mkdir()
    except OSError as error:
        pytest.skip(f"no control group may be made here: {error}")
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            (inner / "cgroup.procs").write_text(str(process.pid))
            yield outer, inner
        finally:
            process.kill()
            process.wait()
            for group in (inner, outer):
                until(lambda group=group: _removed(group))


def _removed(group: Path) -> bool:
    # The kernel may still be taking the process out (EBUSY).
    try:
        group.rmdir()
    except OSError:
        return False
    return True


def limit(group: Path, quota_us: int) -> None:
    if VERSION_2:
        (group / "cpu.max").write_text(f"{quota_us} 100000")
    else:
        (group / "cpu.cfs_quota_us").write_text(str(quota_us))


@pytest.mark.skipif(os.geteuid() != 0, reason="control groups are made by root")
@pytest.mark.parametrize("which", ["outer", "inner"])
def test_a_quota_on_any_level_is_seen_and_the_level_is_named(which):
    with group_in_group() as (outer, inner):
        path = f"/{inner.relative_to(HIERARCHY)}"
        collector = Cgroup(lambda: ["server"], lambda _: path)

        def sample():
            return {one.metric: one.value for one in collector.sample()}

        limit(outer if which == "outer" else inner, 5_000)
        above = f"/{outer.name}" if which == "outer" else ""
        before = sample()
        until(lambda: sample()[f"cpu_throttled{above}"] >= before[f"cpu_throttled{above}"] + 3, 20)
        after = sample()
    measured = {
        ("server", "cgroup", name): [(WINDOW_MS[0], before[name]), (WINDOW_MS[1], value)]
        for name, value in after.items()
        if name.startswith(("cpu_periods", "cpu_throttled"))
    }
    found = checks.check_trial(replace(trial(), series=series(measured)))
    [finding] = [f for f in found if f.check == "throttled"]
    assert finding.level == "invalid"
    assert (f"the CPU quota of {above}, above it" if above else "its CPU quota") in finding.says
