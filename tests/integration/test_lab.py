"""The whole line on the real engine: a YAML file in, a verdict out, nothing left behind."""

import signal
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.lab_command import MEASURED, Project, environment, lab, read_until
from tests.support.runtimes import docker_client, until

pytestmark = pytest.mark.docker

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
  connect-deadline: 2s
  request-timeout: 2s
  drain: 2s
expect:
  blocking: {served_at_once: 1}
"""
ENDS_S = 90.0  # for a run that hangs at its end
FEW_SECONDS = ("--no-repeats", "--no-calibration")
LINK = "links:\n  - {endpoints: [swarm, servers], delay: 15ms}\n"


def ours(project):
    """Containers and networks that carry the label of a run of this project."""
    runs = [path.name for path in project.results.glob("*") if not path.is_symlink()]
    with docker_client() as client:
        # Not client.containers.list: it looks at each again, and another test's may be gone by then.
        labelled = {"label": "lab.run"}
        found = [*client.api.containers(all=True, filters=labelled), *client.api.networks(filters=labelled)]
        labels = [one["Labels"]["lab.run"] for one in found]
    return [label for label in labels if label in runs]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """One whole run on the engine, for all who only look."""
    project = Project(tmp_path_factory.mktemp("whole"), SCENARIO)
    project.run("--runtime", "docker")
    return project


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path, SCENARIO)


def test_from_a_scenario_to_its_reports(whole):
    found = whole.summary
    assert found["verdict"] in ("PASS", "INVALID", "INCONCLUSIVE")
    assert set(found["servers"]) == {"thread", "epoll_lt", "blocking"}
    for name in ("thread", "epoll_lt"):
        server = found["servers"][name]
        assert server["connections_peak"] == 20
        assert server["errors"]["rate"] == 0
        assert whole.record(f"{name}-1")["load"]["result"]["intended"] == 900
        assert server["cpu_us_per_request"] > 1
        reads = server["syscalls_per_request"].get("read")  # none on a busy host: test_counts.py runs alone
        assert reads is None or reads == pytest.approx(1, abs=0.01)
    assert found["servers"]["blocking"]["served_at_once"] == 1
    assert found["servers"]["thread"]["threads_peak"] >= 20
    assert found["servers"]["epoll_lt"]["memory_bytes_per_connection"] is None  # 20 are too few to tell
    assert not [f for f in found["findings"] if f["check"] in ("outcomes", "server_count", "locust_count")]
    assert {path.name for path in whole.latest.iterdir()} >= {
        "manifest.json", "plan.json", "scenario.yaml", "summary.json", "report.html", "report.md",
        "junit.xml", "events.jsonl", "trials",
    }  # fmt: skip
    assert ours(whole) == []


def test_the_reports_come_again_from_the_raw_records(whole):
    names = ("summary.json", "report.md", "report.html", "junit.xml")
    before = {name: (whole.latest / name).read_bytes() for name in names}
    for name in names:
        (whole.latest / name).unlink()
    lab("report", "latest", "--results", whole.results, code=MEASURED)
    assert {name: (whole.latest / name).read_bytes() for name in names} == before


def test_a_delayed_link_is_asked_configured_and_measured(tmp_path):
    project = Project(tmp_path, SCENARIO + LINK)
    project.run("--server", "epoll_lt")
    [link] = project.summary["links"]
    assert link["requested"]["delay_ms"] == 15
    assert all(side["delay_ms"] == 15 for side in link["configured"].values())
    assert link["measured"]["before"]["sent"] > 0
    assert link["measured"]["rtt_ms"] is not None
    assert ours(project) == []


def test_both_runtimes_give_the_same_summary(whole, project):
    project.run("--server", "thread", "--runtime", "local")
    one, other = whole.summary, project.summary
    assert set(one) == set(other)
    assert set(one["servers"]["thread"]) == set(other["servers"]["thread"])
    assert "not isolated" in other["stamps"]


def is_signalled(name):
    """The case of a run that gets a signal in its window."""

    def case(project, deadline_s):
        with project.start("--server", "thread") as process:
            read_until(process, "measure")
            process.send_signal(signal.Signals[name])
            process.communicate(timeout=deadline_s)
        assert process.returncode == 130
        assert project.summary["exit_code"] == 130
        assert (project.latest / "trials" / "thread-1" / "server.log").stat().st_size > 0
        assert ours(project) == []

    return case


def is_killed(project, deadline_s):
    with project.start("--server", "thread") as process:
        read_until(process, "measure")
        assert ours(project)
        process.kill()
        process.communicate(timeout=10)
    until(lambda: ours(project) == [], deadline_s)


def kill_node(project, name):
    """SIGKILL to the container of a node of the one run."""
    with docker_client() as client:
        found = client.containers.list(filters={"label": f"lab.run={project.run_id}"})
        [node] = [container for container in found if container.name.endswith(name)]
        node.kill("SIGKILL")


def loses_a_worker(project, deadline_s):
    with project.start("--server", "epoll_lt") as process:
        read_until(process, "measure")
        kill_node(project, "worker-0")
        process.communicate(timeout=deadline_s)
    assert process.returncode == 5
    assert project.summary["verdict"] == "INVALID"
    assert any("worker-0" in f["says"] for f in project.summary["findings"])
    assert ours(project) == []


def loses_its_server(project, deadline_s):
    with project.start("--server", "epoll_lt") as process:
        read_until(process, "measure")
        kill_node(project, "-server")
        process.communicate(timeout=deadline_s)
    assert process.returncode == 99, project.summary["findings"]
    assert any("the server died" in f["says"] for f in project.summary["findings"])


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_in_the_window_cleans_up_and_keeps_what_there_is(project, name):
    is_signalled(name)(project, ENDS_S)


def test_nothing_is_left_when_the_orchestrator_is_killed(project):
    is_killed(project, ENDS_S)


def test_a_worker_that_dies_voids_the_trial_and_is_named(project):
    loses_a_worker(project, ENDS_S)


def test_a_server_that_dies_fails_the_run(project):
    loses_its_server(project, ENDS_S)


REFUSED = [
    (("model: thread", "model: thred"), 2, "yaml:4:19: servers.thread.model: unknown model 'thred'"),
    (("rate: 300/s", "rate: 300"), 2, "scenario.yaml:11:49"),
    (("users: 20", "users: 900000"), 3, "descriptors per swarm engine"),
]


@pytest.mark.parametrize(("change", "code", "says"), REFUSED)
def test_what_cannot_be_is_refused_before_anything_starts(tmp_path, change, code, says):
    project = Project(tmp_path, SCENARIO.replace(*change))
    assert says in project.run(code=code).stderr
    assert not project.results.exists()


def without_an_engine(project, deadline_s):
    nobody = environment(DOCKER_HOST=f"unix://{project.scenario.parent}/nobody.sock")
    done = lab(*project.argv("--runtime", "docker"), code=3, env=nobody, deadline_s=deadline_s)
    assert "nobody.sock" in done.stderr


def test_an_engine_that_cannot_be_reached_is_one_line(project):
    without_an_engine(project, ENDS_S)


@pytest.mark.alone
def test_a_run_is_refused_within_twenty_seconds(tmp_path):
    for change, code, _ in REFUSED:
        project = Project(tmp_path, SCENARIO.replace(*change))
        lab(*project.argv(), code=code, deadline_s=20)
    without_an_engine(Project(tmp_path, SCENARIO), 30)


@pytest.mark.alone
def test_the_round_trip_of_a_delayed_link_is_within_three_milliseconds(tmp_path):
    soon = SCENARIO.replace("connect-deadline: 2s", "connect-deadline: 1s")
    soon = soon.replace("request-timeout: 2s", "request-timeout: 1s")
    project = Project(Path(tempfile.mkdtemp(dir=tmp_path)), soon + LINK, *FEW_SECONDS)
    project.run("--server", "epoll_lt")
    [link] = project.summary["links"]
    assert link["measured"]["rtt_ms"] == pytest.approx(30, abs=3)
    server = project.summary["servers"]["epoll_lt"]
    assert 30 <= server["response_ms"]["p50"] < 45
    assert server["requests_per_s"]["value"] == pytest.approx(300, rel=0.05)
    assert server["errors"]["rate"] == 0


@pytest.mark.alone
def test_runs_that_are_stopped_or_lose_a_process_end_in_time(tmp_path):
    """They mostly wait, so all at once."""
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    cases = [(is_signalled("SIGINT"), 30), (is_killed, 20), (loses_a_worker, 40)]
    with ThreadPoolExecutor(len(cases)) as pool:
        ends = []
        for number, (case, deadline_s) in enumerate(cases):
            (place := folder / str(number)).mkdir()
            ends.append(pool.submit(case, Project(place, SCENARIO, *FEW_SECONDS), deadline_s))
        for end in ends:
            end.result()
