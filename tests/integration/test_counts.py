"""What a server counted, and what it was asked for, are of the same moments, in real runs: no times."""

from __future__ import annotations

import pytest

from lab.analysis import counted
from lab.analysis.figures import figures
from lab.results import store
from lab.results.record import TrialRecord
from tests.support.lab_command import Project
from tests.support.runtimes import docker_client

READS = ("read", "recvfrom")
SCENARIO = """\
# Does a server read as often as it answers?
name: counts
servers:
{servers}
swarm:
  users: {users}
  workers: 1
  spawn-rate: 500
  wire: {wire}
  load: {{executor: constant-arrival-rate, rate: {rate}/s}}
  phases: {{warmup: 2s, measure: 1s, cooldown: 1s}}
  request-timeout: 2s
  drain: 2s
"""


def measured(tmp_path, *models: str, users: int, wire: str = "http1", rate: int = 1000) -> list[TrialRecord]:
    """Run each of the models once, and return the trials."""
    servers = "\n".join(f"  {name}: {{model: {name}}}" for name in models)
    text = SCENARIO.format(servers=servers, users=users, wire=wire, rate=rate)
    project = Project(tmp_path, text, "--no-calibration", "--no-repeats", "--runtime", "docker")
    with docker_client():
        project.run()
    trials = store.read_run(project.results / project.run_id).trials
    assert {trial.status for trial in trials} == {"ok"}, [trial.reason for trial in trials]
    return list(trials)


def reads_per_request(trial: TrialRecord) -> float:
    """Return the reads of the warm-up that returned data, per request that the server counted meanwhile."""
    span = counted.lines(trial, "warmup", "measure")
    assert span is not None, trial.marks
    fruitless, requests = counted.grown(trial, "eagain", span), counted.requests(trial, span)
    assert fruitless is not None
    assert requests
    calls = figures(trial).syscalls_per_request
    if why := [says for says in trial.warnings if says.startswith("system calls were not counted")]:
        pytest.skip(why[0])
    assert calls, f"they were not read close to the server's lines: {trial.marks}"
    return sum(calls.get(name, 0.0) for name in READS) - fruitless / requests


@pytest.mark.alone  # a busy host delays the readings: then there is no figure
@pytest.mark.docker
def test_a_server_reads_once_per_request(tmp_path):
    trials = measured(tmp_path, "thread", "poll", "select", "epoll_lt", users=20)
    assert {trial.server: reads_per_request(trial) for trial in trials} == {
        trial.server: pytest.approx(1.0, abs=0.01) for trial in trials
    }


@pytest.mark.alone  # a busy host delays the readings: then there is no figure
@pytest.mark.docker
def test_so_does_one_that_serves_a_single_user(tmp_path):
    (trial,) = measured(tmp_path, "blocking", users=1)
    assert reads_per_request(trial) == pytest.approx(1.0, abs=0.01)


@pytest.mark.alone  # a busy host delays the readings: then there is no figure
@pytest.mark.docker
def test_a_greeting_takes_four_signals(tmp_path):
    (trial,) = measured(tmp_path, "sigio_tcp", users=20, wire="greet", rate=300)
    span = counted.lines(trial, "measure", "end")
    assert span is not None, trial.marks
    assert figures(trial).signals_per_request == pytest.approx(4.0, abs=0.04)
