"""What makes a run INVALID, or ends it early, seen in real runs. A worker that is killed: see test_lab.py."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.runtimes import docker_client, until

ROOT = Path(__file__).resolve().parents[2]
LAB = [sys.executable, "-m", "lab.cli"]
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


def start(folder: Path, text: str, *arguments: str) -> subprocess.Popen[str]:
    path = folder / "verdict.yaml"
    path.write_text(text)
    command = [*LAB, "run", path, "--results", folder / "results", "--no-calibration", *arguments]
    return subprocess.Popen(
        list(map(str, command)), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def ended(process: subprocess.Popen[str]) -> int:
    with process:
        _, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    return process.returncode


def summary(folder: Path) -> dict:
    return json.loads((folder / "results/latest/summary.json").read_text())


def said(found: dict, check: str, level: str = "invalid") -> str:
    return " ".join(f["says"] for f in found["findings"] if (f["check"], f["level"]) == (check, level))


@pytest.mark.docker
def test_a_throttled_worker_makes_a_trial_invalid(tmp_path):
    event = "events:\n  - {at: 100ms, limit: worker-0, cpus: 0.05}\n"
    text = SCENARIO.replace("rate: 200/s", "rate: 1000/s") + event  # far more than the quota is enough for
    with docker_client():
        assert ended(start(tmp_path, text, "--runtime", "docker", "--server", "epoll_lt")) == 5
    found = summary(tmp_path)
    assert found["verdict"] == "INVALID"
    assert "worker-0 was throttled in" in said(found, "generator_throttled"), found["findings"]


@pytest.mark.docker
def test_a_link_that_was_changed_behind_the_labs_back_makes_a_trial_invalid(tmp_path):
    link = "links:\n  - {endpoints: [swarm, servers], delay: 15ms}\n"
    results = tmp_path / "results"
    with docker_client():
        process = start(
            tmp_path, SCENARIO + link, "--runtime", "docker", "--server", "epoll_lt", "--no-repeats"
        )
        log = "*/trials/epoll_lt-1/master.log"
        until(lambda: any('"measure"' in file.read_text() for file in results.glob(log)), 45)
        [run] = [path.name for path in results.iterdir() if not path.is_symlink()]
        change = [*LAB, "net", "set", run, "server", "delay=60ms"]
        subprocess.run(change, cwd=ROOT, check=True, capture_output=True, timeout=30)
        assert ended(process) == 5
    found = summary(tmp_path)
    assert found["verdict"] == "INVALID"
    assert "30 ms requested" in said(found, "link_delay"), found["findings"]
    assert "ms after the load, " in said(found, "link_delay")


def test_a_window_that_is_too_short_makes_a_trial_invalid(tmp_path):
    text = SCENARIO.replace("measure: 3s", "measure: 1s")
    assert ended(start(tmp_path, text, "--runtime", "local", "--server", "epoll_lt")) == 5
    found = summary(tmp_path)
    assert found["verdict"] == "INVALID"
    assert "window of 1 s (limit 2 s)" in said(found, "tail_support"), found["findings"]


def test_a_threshold_may_end_the_run_while_its_window_runs(tmp_path):
    ends = "thresholds:\n" + "".join(
        f"  {name}: {{latency: [{{threshold: 'p(50)<1ms', abort_on_fail: true}}]}}\n"
        for name in ("epoll_lt", "thread")
    )
    text = SCENARIO.replace("measure: 3s", "measure: 60s")
    assert ended(start(tmp_path, text + ends, "--runtime", "local")) == 99
    found = summary(tmp_path)
    assert found["verdict"] == "FAIL"
    assert len(list((tmp_path / "results/latest/trials").glob("*/record.json"))) == 1
    [row] = found["thresholds"]
    assert (row["ok"], row["threshold"]) == (False, "p(50)<1ms")
    assert row["value"] >= 5
    assert "1 of 2 trials were not run" in said(found, "complete", "suspect")
