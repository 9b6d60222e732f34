"""What else runs on the CPUs of a measurement, seen in real runs: a real process takes one of them."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager

import pytest

from tests.support.lab_command import Project, said
from tests.support.runtimes import until

SCENARIO = """\
# Who was on the server's CPU?
name: disturbed
servers:
  epoll_lt: {model: epoll_lt}
swarm:
  users: 10
  workers: 1
  load: {executor: constant-arrival-rate, rate: 200/s}
  phases: {warmup: 1s, measure: 3s}
  drain: 1s
"""
OPTIONS = ("--no-calibration", "--no-repeats", "--runtime", "local")

pytestmark = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="server and swarm would share a CPU")


@contextmanager
def busy_loop(cpu):
    """A process that takes all it gets of one CPU."""
    pinned = f"import os; os.sched_setaffinity(0, [{cpu}])\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", pinned]) as process:
        try:
            yield
        finally:
            process.kill()


@pytest.mark.parametrize(("place", "side"), [(0, "server"), (-1, "swarm")])
def test_a_busy_loop_on_a_cpu_in_use_is_seen_and_the_cpu_is_named(tmp_path, place, side):
    cpu = sorted(os.sched_getaffinity(0))[place]
    project = Project(tmp_path, SCENARIO, *OPTIONS)
    with busy_loop(cpu):
        project.run(code=5)
    found = said(project.summary, "host_quiet")
    assert "other processes used" in found, project.summary["findings"]
    assert f"of the {side}, other processes used" in found
    assert str(cpu) in found


def test_a_server_that_is_moved_to_another_cpu_is_seen(tmp_path):
    project = Project(tmp_path, SCENARIO, *OPTIONS)
    folder = "*/trials/epoll_lt-1"
    with project.start() as process:
        until(
            lambda: any('"measure"' in f.read_text() for f in project.results.glob(f"{folder}/master.log")),
            45,
        )
        [log] = project.results.glob(f"{folder}/server.log")
        os.sched_setaffinity(json.loads(log.read_text().splitlines()[0])["pid"], [1])
        process.communicate(timeout=120)
    found = said(project.summary, "cpu_sets")
    assert "server was to run on CPU 0; after the load: its processes 1" in found, project.summary["findings"]


@pytest.mark.alone
def test_the_same_load_on_a_quiet_host_is_no_disturbance(tmp_path):
    project = Project(tmp_path, SCENARIO, *OPTIONS)
    project.run()
    seen = [f for f in project.summary["findings"] if f["check"] in ("host_quiet", "run_delay")]
    assert seen == []
