"""What makes a run INVALID, or ends it early, seen in real runs. A worker that is killed: see test_lab.py."""

import json

import pytest

from tests.support.lab_command import MEASURED, Project, lab, said
from tests.support.runtimes import docker_client, until

SCENARIO = """\
# May this be believed?
name: verdict
servers:
  epoll_lt: {model: epoll_lt}
  thread: {model: thread}
handler: {sleep: 5ms}
swarm:
  users: 20
  workers: 1
  spawn-rate: 200
  load: {executor: constant-arrival-rate, rate: 200/s}
  phases: {warmup: 1s, measure: 3s}
  connect-deadline: 1s
  request-timeout: 2s
  drain: 1s
"""


OPTIONS = ("--no-calibration", "--runtime")


@pytest.mark.docker
def test_a_throttled_worker_makes_a_trial_invalid(tmp_path):
    event = "events:\n  - {at: 100ms, limit: worker-0, cpus: 0.05}\n"
    text = SCENARIO.replace("rate: 200/s", "rate: 1000/s") + event  # far more than the quota is enough for
    project = Project(tmp_path, text, *OPTIONS, "docker")
    with docker_client():
        project.run("--server", "epoll_lt", code=5)
    assert project.summary["verdict"] == "INVALID"
    found = said(project.summary, "generator_throttled")
    assert "worker-0 was throttled in" in found, project.summary["findings"]


@pytest.mark.docker
def test_a_link_that_was_changed_behind_the_labs_back_makes_a_trial_invalid(tmp_path):
    link = "links:\n  - {endpoints: [swarm, servers], delay: 15ms}\n"
    # Long enough for the command that changes it, however busy the host is.
    project = Project(tmp_path, SCENARIO.replace("measure: 3s", "measure: 10s") + link, *OPTIONS, "docker")
    log = "*/trials/epoll_lt-1/master.log"
    with docker_client(), project.start("--server", "epoll_lt", "--no-repeats") as process:
        until(lambda: any('"measure"' in file.read_text() for file in project.results.glob(log)), 45)
        lab("net", "set", project.run_id, "server", "delay=60ms")
        process.communicate(timeout=120)
    assert process.returncode == 5
    assert project.summary["verdict"] == "INVALID"
    found = said(project.summary, "link_delay")
    assert "30 ms requested" in found, project.summary["findings"]
    assert "ms after the load, " in found


def test_a_window_that_is_too_short_makes_a_trial_invalid(tmp_path):
    project = Project(tmp_path, SCENARIO.replace("measure: 3s", "measure: 1s"), *OPTIONS, "local")
    project.run("--server", "epoll_lt", code=5)
    assert project.summary["verdict"] == "INVALID"
    found = said(project.summary, "tail_support")
    assert "window of 1 s (limit 2 s)" in found, project.summary["findings"]


def test_a_threshold_may_end_the_run_while_its_window_runs(tmp_path):
    ends = "thresholds:\n" + "".join(
        f"  {name}: {{latency: [{{threshold: 'p(50)<1ms', abort_on_fail: true}}]}}\n"
        for name in ("epoll_lt", "thread")
    )
    project = Project(tmp_path, SCENARIO.replace("measure: 3s", "measure: 60s") + ends, *OPTIONS, "local")
    project.run(code=99)
    found = project.summary
    assert found["verdict"] == "FAIL"
    assert len(list(project.latest.glob("trials/*/record.json"))) == 1
    [row] = found["thresholds"]
    assert (row["ok"], row["threshold"]) == (False, "p(50)<1ms")
    assert row["value"] >= 5
    assert "1 of 2 trials were not run" in said(found, "complete", "suspect")


def test_a_server_that_is_asked_more_than_it_can_do_shows_what_it_did(tmp_path):
    """One connection at a time, 10 ms each: never more than 100/s, whatever the host; 150/s are asked."""
    beyond = SCENARIO.replace("{sleep: 5ms}", "{sleep: 10ms}").replace("rate: 200/s", "rate: 150/s")
    beyond = beyond.replace("epoll_lt", "blocking").replace(
        "users: 20", "users: 900\n  clients: {churn: true}"
    )
    beyond = beyond.replace("connect-deadline: 1s", "connect-deadline: 20s")
    beyond = beyond.replace("request-timeout: 2s", "request-timeout: 20s").replace("drain: 1s", "drain: 15s")
    project = Project(tmp_path, beyond.replace("spawn-rate: 200", "spawn-rate: 900"), *OPTIONS, "local")
    project.run("--server", "blocking", code=MEASURED)
    found = project.summary
    server = found["servers"]["blocking"]
    assert server["requests_per_s"]["value"] <= 101  # 300 of 10 ms each in 3 s, and one that ends in it
    assert server["kept_up"] is False
    assert "the server did not keep up: 150 requests/s were asked" in said(found, "backlog", "limit")
    assert not {"steady", "tail_support"} & set(found["checks"])
    assert found["checks"]["little_law"] == {"ok": 1}
    [record] = project.latest.glob("trials/*/record.json")
    load = json.loads(record.read_text())["load"]["result"]
    assert load["whole"]["completed"] == load["whole"]["answered"]
    assert load["completed"] < load["answered"], "most answers came after the window"
