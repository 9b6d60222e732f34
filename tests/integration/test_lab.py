"""The whole line on the real engine: a YAML file in, a verdict out, nothing left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.runtimes import docker_client, until

pytestmark = pytest.mark.docker
ROOT = Path(__file__).resolve().parents[2]

SCENARIO = """\
# Does the whole line hold?
name: line
servers:
  thread: {model: thread}
  epoll_lt: {model: epoll_lt}
  blocking: {model: blocking}
swarm:
  users: 20
  workers: 1
  spawn-rate: 100
  load: {executor: constant-arrival-rate, rate: 300/s}
  phases: {warmup: 1s, measure: 3s}
  connect-deadline: 1s
  request-timeout: 1s
  drain: 2s
expect:
  blocking: {served_at_once: 1}
"""
LINK = "links:\n  - {endpoints: [swarm, servers], delay: 15ms}\n"
# What the numbers are worth is judged too, and a busy machine may fail there: that they came about is tested.
MEASURED = (0, 5)


def start(folder, text, *arguments):
    path = folder / "line.yaml"
    path.write_text(text)
    command = [sys.executable, "-m", "lab.cli", "run", path, "--results", folder / "results", *arguments]
    return subprocess.Popen(
        list(map(str, command)), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run(folder, text, *arguments, code=MEASURED):
    with start(folder, text, *arguments) as process:
        out, err = process.communicate(timeout=110)
    assert process.returncode in code, out + err
    return out, err


def latest(folder):
    return folder / "results" / "latest"


def summary(folder):
    return json.loads((latest(folder) / "summary.json").read_text())


def ours(folder):
    """Containers and networks that carry the label of a run of this folder."""
    runs = [path.name for path in (folder / "results").glob("*") if not path.is_symlink()]
    with docker_client() as client:
        # Not client.containers.list: it looks at each again, and another test's may be gone by then.
        labelled = {"label": "lab.run"}
        found = [*client.api.containers(all=True, filters=labelled), *client.api.networks(filters=labelled)]
        labels = [one["Labels"]["lab.run"] for one in found]
    return [label for label in labels if label in runs]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of one whole run on the engine, for all who only look."""
    folder = tmp_path_factory.mktemp("whole")
    run(folder, SCENARIO, "--runtime", "docker")
    return folder


def test_from_a_scenario_to_its_reports(whole):
    found = summary(whole)
    assert found["verdict"] in ("PASS", "INVALID", "INCONCLUSIVE")
    assert set(found["servers"]) == {"thread", "epoll_lt", "blocking"}
    for name in ("thread", "epoll_lt"):
        server = found["servers"][name]
        assert server["connections_peak"] == 20
        assert server["requests_per_s"]["value"] == pytest.approx(300, rel=0.05)
        assert server["errors"]["rate"] == 0
        assert server["cpu_us_per_request"] > 1
        assert server["syscalls_per_request"]["read"] == pytest.approx(1, abs=0.5)
    assert found["servers"]["blocking"]["served_at_once"] == 1
    assert found["servers"]["thread"]["threads_peak"] >= 20
    assert found["servers"]["epoll_lt"]["memory_bytes_per_connection"] is None  # 20 are too few to tell
    assert not [f for f in found["findings"] if f["check"] in ("outcomes", "server_count", "locust_count")]
    assert {path.name for path in latest(whole).iterdir()} >= {
        "manifest.json", "plan.json", "scenario.yaml", "summary.json", "report.html", "report.md",
        "junit.xml", "events.jsonl", "trials",
    }  # fmt: skip
    assert ours(whole) == []


def test_the_reports_come_again_from_the_raw_records(whole):
    names = ("summary.json", "report.md", "report.html", "junit.xml")
    before = {name: (latest(whole) / name).read_bytes() for name in names}
    for name in names:
        (latest(whole) / name).unlink()
    command = [sys.executable, "-m", "lab.cli", "report", "latest", "--results", whole / "results"]
    subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, timeout=60, check=False)
    assert {name: (latest(whole) / name).read_bytes() for name in names} == before


def test_a_delayed_link_is_asked_configured_and_measured(tmp_path):
    run(tmp_path, SCENARIO + LINK, "--server", "epoll_lt")
    [link] = summary(tmp_path)["links"]
    assert link["requested"]["delay_ms"] == 15
    assert link["measured"]["rtt_ms"] == pytest.approx(30, abs=3)
    assert all(side["delay_ms"] == 15 for side in link["configured"].values())
    server = summary(tmp_path)["servers"]["epoll_lt"]
    assert 30 <= server["response_ms"]["p50"] < 45
    assert ours(tmp_path) == []


def test_both_runtimes_give_the_same_summary(whole, tmp_path):
    run(tmp_path, SCENARIO, "--server", "thread", "--runtime", "local")
    one, other = summary(whole), summary(tmp_path)
    assert set(one) == set(other)
    assert set(one["servers"]["thread"]) == set(other["servers"]["thread"])
    assert "not isolated" in other["stamps"]


def wait_for(process, text, deadline_s=60):
    """The run's plain lines up to the one that says `text`."""
    end = time.monotonic() + deadline_s
    lines = []
    for line in process.stderr:
        lines.append(line)
        if text in line:
            return
        assert time.monotonic() < end, "".join(lines)
    raise AssertionError("it ended before: " + "".join(lines))


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_in_the_window_cleans_up_and_keeps_what_there_is(tmp_path, name):
    with start(tmp_path, SCENARIO, "--server", "thread") as process:
        wait_for(process, "measure")
        process.send_signal(signal.Signals[name])
        process.communicate(timeout=30)
    assert process.returncode == 130
    assert summary(tmp_path)["exit_code"] == 130
    assert (latest(tmp_path) / "trials" / "thread-1" / "server.log").stat().st_size > 0
    assert ours(tmp_path) == []


def test_nothing_is_left_when_the_orchestrator_is_killed(tmp_path):
    with start(tmp_path, SCENARIO, "--server", "thread") as process:
        wait_for(process, "measure")
        assert ours(tmp_path)
        process.kill()
        process.communicate(timeout=10)
    until(lambda: ours(tmp_path) == [], 20)


def test_a_worker_that_dies_voids_the_trial_and_is_named(tmp_path):
    with start(tmp_path, SCENARIO, "--server", "epoll_lt") as process:
        wait_for(process, "measure")
        [run_folder] = [p for p in (tmp_path / "results").iterdir() if not p.is_symlink()]
        with docker_client() as client:
            found = client.containers.list(filters={"label": f"lab.run={run_folder.name}"})
            [worker] = [container for container in found if "worker-0" in container.name]
            worker.kill("SIGKILL")
        process.communicate(timeout=40)
    assert process.returncode == 5
    found = summary(tmp_path)
    assert found["verdict"] == "INVALID"
    assert any("worker-0" in f["says"] for f in found["findings"])
    assert ours(tmp_path) == []


def test_a_server_that_dies_fails_the_run(tmp_path):
    with start(tmp_path, SCENARIO, "--server", "epoll_lt") as process:
        wait_for(process, "measure")
        [run_folder] = [p for p in (tmp_path / "results").iterdir() if not p.is_symlink()]
        with docker_client() as client:
            found = client.containers.list(filters={"label": f"lab.run={run_folder.name}"})
            [server] = [c for c in found if c.name.endswith("server")]
            server.kill("SIGKILL")
        process.communicate(timeout=60)
    assert process.returncode == 99, summary(tmp_path)["findings"]
    assert any("the server died" in f["says"] for f in summary(tmp_path)["findings"])


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        (("model: thread", "model: thred"), 2, "line.yaml:4:19: servers.thread.model: unknown model 'thred'"),
        (("rate: 300/s", "rate: 300"), 2, "line.yaml:11:49"),
        (("users: 20", "users: 900000"), 3, "descriptors per swarm engine"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(tmp_path, change, code, says):
    began = time.monotonic()
    _, err = run(tmp_path, SCENARIO.replace(*change), code=(code,))
    assert says in err
    assert "Traceback" not in err
    assert not (tmp_path / "results").exists()
    assert time.monotonic() - began < 20


def test_an_engine_that_cannot_be_reached_is_one_line(tmp_path):
    (tmp_path / "line.yaml").write_text(SCENARIO)
    command = [sys.executable, "-m", "lab.cli", "run", str(tmp_path / "line.yaml"), "--runtime", "docker"]
    environment = {**os.environ, "DOCKER_HOST": f"unix://{tmp_path}/nobody.sock"}
    done = subprocess.run(
        [*command, "--results", str(tmp_path / "results")],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "nobody.sock" in done.stderr
    assert "Traceback" not in done.stderr
