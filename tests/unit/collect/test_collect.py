"""Collectors read what the kernel says: fake trees of both cgroup versions, and this very process."""

import os
import socket
import threading

import pytest

from lab.collect import Recorder
from lab.collect.cgroup import Cgroup
from lab.collect.host import HostCollector
from lab.collect.procfs import Procfs
from lab.collect.sockets import Sockets, paired_tables
from lab.common.clock import mono_ms
from lab.common.errors import NoMeasurement
from lab.results.record import Sample
from lab.results.store import read_series


def figures(samples):
    return {sample.metric: sample.value for sample in samples}


def write(root, name, text):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_cgroup_version_2(tmp_path):
    write(tmp_path, "cgroup.controllers", "cpu memory pids")
    group = "docker/abc"
    write(
        tmp_path,
        f"{group}/cpu.stat",
        "usage_usec 500\nuser_usec 300\nsystem_usec 200\nnr_periods 9\nnr_throttled 1\n",
    )
    write(tmp_path, f"{group}/memory.current", "4096\n")
    write(tmp_path, f"{group}/memory.peak", "8192\n")
    write(tmp_path, f"{group}/memory.events", "low 0\noom 1\noom_kill 1\n")
    write(tmp_path, f"{group}/pids.current", "3\n")
    found = figures(Cgroup(lambda: ["server"], lambda _: "/docker/abc", tmp_path).sample())
    assert found["cpu_us"] == 500
    assert found["memory_bytes"] == 4096
    assert found["memory_peak_bytes"] == 8192
    assert (found["cpu_throttled"], found["oom_kills"], found["pids"]) == (1, 1, 3)


def test_cgroup_version_1(tmp_path):
    group = "docker/abc"
    write(tmp_path, f"cpuacct/{group}/cpuacct.usage", "500000\n")
    write(tmp_path, f"cpuacct/{group}/cpuacct.usage_user", "300000\n")
    write(tmp_path, f"cpuacct/{group}/cpuacct.usage_sys", "200000\n")
    write(tmp_path, f"cpu/{group}/cpu.stat", "nr_periods 9\nnr_throttled 1\nthrottled_time 5\n")
    write(tmp_path, f"memory/{group}/memory.usage_in_bytes", "4096\n")
    write(tmp_path, f"memory/{group}/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n")
    write(tmp_path, f"pids/{group}/pids.current", "3\n")
    found = figures(Cgroup(lambda: ["server"], lambda _: "/docker/abc", tmp_path).sample())
    assert (found["cpu_us"], found["cpu_user_us"], found["cpu_system_us"]) == (500, 300, 200)
    assert (found["memory_bytes"], found["pids"], found["oom_kills"]) == (4096, 3, 0)


def test_a_group_that_has_gone_is_left_out(tmp_path):
    assert list(Cgroup(lambda: ["server"], lambda _: "/docker/gone", tmp_path).sample()) == []


def test_this_process_through_procfs():
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        found = figures(Procfs(["server"], lambda _: [os.getpid()]).sample())
    finally:
        stop.set()
        thread.join()
    assert found["processes"] == 1
    assert found["threads"] >= 2
    assert found["rss_bytes"] > 1 << 20
    assert found["descriptors"] >= 3
    assert found["switches_voluntary"] > 0


def test_a_process_that_has_gone_is_left_out():
    assert figures(Procfs(["server"], lambda _: [2**22 + 5]).sample())["processes"] == 1
    assert not figures(Procfs(["server"], lambda _: []).sample())


def test_sockets_of_this_namespace():
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()):
        found = figures(Sockets(["server"], lambda _: [os.getpid()]).sample())
    assert found["established"] >= 1
    assert "listen_overflows" in found
    assert "retransmits" in found


def test_paired_tables():
    assert paired_tables("Tcp: A B\nTcp: 1 -1\nUdp: C\nUdp: 7\n") == {
        "Tcp": {"A": 1, "B": -1},
        "Udp": {"C": 7},
    }


def test_the_host():
    found = figures(HostCollector().sample())
    assert found["cpu_user_us"] > 0
    assert "cpu0_steal_us" in found
    assert found["softnet_dropped"] >= 0


class Deployment:
    """As much of a deployment as the recorder needs."""

    def __init__(self):
        self.callbacks = []

    def subscribe(self, callback):
        self.callbacks.append(callback)


class Clockwork:
    source = "fake"

    def __init__(self, wanted):
        self.times = []
        self.enough = threading.Event()
        self.wanted = wanted

    def sample(self):
        self.times.append(mono_ms())
        if len(self.times) >= self.wanted:
            self.enough.set()
        return [Sample(self.times[-1], "server", "fake", "n", len(self.times))]


class Broken:
    source = "broken"

    def sample(self):
        raise OSError("the file is gone")


def test_the_recorder_samples_at_marks_and_keeps_events(tmp_path):
    deployment, fake = Deployment(), Clockwork(wanted=3)
    with Recorder(deployment, [fake, Broken()], tmp_path / "series.csv") as recorder:
        mark = mono_ms() + 120
        recorder.mark("measure", mark)
        deployment.callbacks[0](
            "server", {"event": "stats", "mono_ms": 5.0, "open": 7, "errors": {}, "x": True}
        )
        deployment.callbacks[0]("master", {"event": "progress", "mono_ms": 6.0, "sent": 9})
        deployment.callbacks[0]("master", {"event": "phase", "mono_ms": 6.0, "n": 9})
        assert fake.enough.wait(10)
    assert recorder.problems == ["collector broken: the file is gone"]
    assert min(abs(t - mark) for t in fake.times) < 100
    assert min(fake.times, key=lambda t: abs(t - mark)) >= mark
    series, ignored = read_series(tmp_path / "series.csv")
    assert ignored == 0
    assert series.get("server", "server", "open") == [(5.0, 7)]
    assert series.get("master", "load", "sent") == [(6.0, 9)]
    assert series.get("server", "server", "x") == []
    assert len(series.get("server", "fake", "n")) >= 3


class Counting:
    """A collector that costs the server, and is set against the server's own count."""

    source = "calls"

    def __init__(self):
        self.on = True

    def sample(self):
        return [Sample(mono_ms(), "server", "calls", "read", 7)] if self.on else []

    def sample_beside_server(self):
        return [Sample(mono_ms(), "server", "calls", "read", 8)] if self.on else []

    def detach(self):
        self.on = False


def test_at_a_mark_the_server_is_asked_and_its_line_is_read_beside_the_calls(tmp_path):
    deployment, calls, answered = Deployment(), Counting(), threading.Event()

    def answer():
        line = {"event": "stats", "mono_ms": mono_ms(), "requests": 5, "asked": True}
        deployment.callbacks[0]("server", line)
        answered.set()

    with Recorder(deployment, [calls], tmp_path / "series.csv", ask=answer) as recorder:
        mark = mono_ms()
        recorder.mark("measure", mark, window_opens=True)
        assert answered.wait(10)
        assert not calls.on
    (taken,) = recorder.marks
    assert (taken.what, taken.asked_mono_ms) == ("measure", mark)
    assert set(taken.taken_mono_ms) == {"calls", "server"}
    series, _ = read_series(tmp_path / "series.csv")
    assert series.get("server", "server", "requests") == [(taken.taken_mono_ms["server"], 5)]
    assert series.get("server", "calls", "read")[-1][1] == 8


def test_a_server_that_does_not_answer_keeps_nothing_from_being_detached(tmp_path):
    class Waited(Counting):
        def __init__(self):
            super().__init__()
            self.detached = threading.Event()

        def detach(self):
            self.detached.set()

    deployment, calls = Deployment(), Waited()
    with Recorder(deployment, [calls], tmp_path / "series.csv", ask=lambda: None) as recorder:
        recorder.mark("measure", mono_ms(), window_opens=True)
        assert calls.detached.wait(10)
        late = {"event": "stats", "mono_ms": 5.0, "requests": 5}
        deployment.callbacks[0]("server", late)  # not the answer to a request
    (taken,) = recorder.marks
    assert set(taken.taken_mono_ms) == {"calls"}


def test_a_server_that_cannot_be_asked_is_a_problem_that_is_told(tmp_path):
    told = threading.Event()

    def fail():
        told.set()
        raise NoMeasurement("it is gone")

    with Recorder(Deployment(), [], tmp_path / "series.csv", ask=fail) as recorder:
        recorder.mark("end", mono_ms())
        assert told.wait(10)
        deadline = mono_ms() + 10_000
        while not recorder.problems and mono_ms() < deadline:
            pass
    assert recorder.problems == ["the server was not asked for statistics: it is gone"]


def test_nothing_is_written_after_the_end(tmp_path):
    deployment = Deployment()
    with Recorder(deployment, [], tmp_path / "series.csv"):
        pass
    size = (tmp_path / "series.csv").stat().st_size
    deployment.callbacks[0]("server", {"event": "stats", "mono_ms": 5.0, "open": 7})
    assert (tmp_path / "series.csv").stat().st_size == size


@pytest.mark.parametrize("name", ["cpu_us", "memory_bytes"])
def test_version_is_chosen_by_the_tree(tmp_path, name):
    write(tmp_path, "cgroup.controllers", "cpu")
    write(tmp_path, "g/cpu.stat", "usage_usec 1\n")
    write(tmp_path, "g/memory.current", "1\n")
    assert name in figures(Cgroup(lambda: ["server"], lambda _: "g", tmp_path).sample())
