"""Collectors read what the kernel says: fake trees of both cgroup versions, and this very process."""

import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.collect import Recorder
from lab.collect.cgroup import Cgroup
from lab.collect.clocks import Clocks
from lab.collect.cpu_sets import read_back
from lab.collect.host import HostCollector
from lab.collect.orchestrator import Orchestrator
from lab.collect.procfs import REPORTER, Procfs
from lab.collect.pss import Pss
from lab.collect.schedstat import Schedstat
from lab.collect.sockets import Sockets, paired_tables
from lab.common.clock import mono_ms
from lab.common.cpus import cpu_list
from lab.common.errors import NoMeasurement
from lab.common.paths import ROOT
from lab.plan.topology import Node, Topology
from lab.results.record import Sample
from lab.results.store import read_series
from tests.support.runtimes import until


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
    write(tmp_path, "cpu.stat", "usage_usec 900\n")
    write(tmp_path, "docker/cpu.stat", "usage_usec 500\nnr_periods 5\nnr_throttled 4\nthrottled_usec 7\n")
    write(tmp_path, f"{group}/memory.current", "4096\n")
    write(tmp_path, f"{group}/memory.peak", "8192\n")
    write(tmp_path, f"{group}/memory.events", "low 0\noom 1\noom_kill 1\n")
    write(tmp_path, f"{group}/pids.current", "3\n")
    found = figures(Cgroup(lambda: ["server"], lambda _: "/docker/abc", tmp_path).sample())
    assert found["cpu_us"] == 500
    assert (found["cpu_throttled/docker"], found["cpu_throttled_us/docker"]) == (4, 7)
    assert found["memory_bytes"] == 4096
    assert found["memory_peak_bytes"] == 8192
    assert (found["cpu_throttled"], found["oom_kills"], found["pids"]) == (1, 1, 3)


def test_cgroup_version_1(tmp_path):
    group = "docker/abc"
    write(tmp_path, f"cpuacct/{group}/cpuacct.usage", "500000\n")
    write(tmp_path, f"cpuacct/{group}/cpuacct.usage_user", "300000\n")
    write(tmp_path, f"cpuacct/{group}/cpuacct.usage_sys", "200000\n")
    write(tmp_path, f"cpuacct/{group}/cpuacct.usage_percpu", "400000 100000 \n")
    write(tmp_path, "cpu/cpu.stat", "nr_periods 0\nnr_throttled 0\nthrottled_time 0\n")
    write(tmp_path, "cpu/docker/cpu.stat", "nr_periods 5\nnr_throttled 4\nthrottled_time 0\n")
    write(tmp_path, f"cpu/{group}/cpu.stat", "nr_periods 9\nnr_throttled 1\nthrottled_time 5000\n")
    write(tmp_path, f"memory/{group}/memory.usage_in_bytes", "4096\n")
    write(tmp_path, f"memory/{group}/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n")
    write(tmp_path, f"pids/{group}/pids.current", "3\n")
    found = figures(Cgroup(lambda: ["server"], lambda _: "/docker/abc", tmp_path).sample())
    assert (found["cpu_us"], found["cpu_user_us"], found["cpu_system_us"]) == (500, 300, 200)
    assert (found["cpu_periods"], found["cpu_periods/docker"], found["cpu_throttled/docker"]) == (9, 5, 4)
    assert "cpu_periods/" not in found
    assert (found["cpu0_us"], found["cpu1_us"], found["cpu_throttled_us"]) == (400, 100, 5)
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


def test_the_reporter_of_a_server_is_none_of_its_threads():
    """A real server of the lab: one thread serves, one prints statistics."""
    with server_process("epoll_lt") as pid:
        until(lambda: REPORTER in names_of_threads(pid))
        assert len(names_of_threads(pid)) == 2
        assert figures(Procfs(["server"], lambda _: [pid]).sample())["threads"] == 1


def test_own_memory_counts_shared_pages_once_and_is_read_when_forced():
    with server_process("prefork") as pid:
        children = Path(f"/proc/{pid}/task/{pid}/children")
        until(lambda: len(children.read_text().split()) == 16)
        pids = [pid, *map(int, children.read_text().split())]
        pss = Pss(["server"], lambda _: pids)
        assert list(pss.sample()) == []
        pss.force_sample()
        own = figures(pss.sample())["bytes"]
        assert list(pss.sample()) == []
        resident = figures(Procfs(["server"], lambda _: pids).sample())["rss_bytes"]
    assert 1 << 20 < own < resident / 2  # forked, they share most of their pages


def test_memory_that_may_not_be_read_is_not_told(tmp_path):
    write(tmp_path, "7/smaps_rollup", "Rss: 9 kB\n")  # a kernel that keeps no Pss
    pss = Pss(["server"], lambda _: [7], tmp_path)
    pss.force_sample()
    assert list(pss.sample()) == []


def names_of_threads(pid):
    return [(task / "comm").read_text().strip() for task in Path(f"/proc/{pid}/task").iterdir()]


@contextmanager
def server_process(model):
    """The pid of a server of the lab that is ready."""
    images = ROOT / "images"
    environment = {**os.environ, "PYTHONPATH": f"{images}:{images / 'server'}", "LAB_PORT": "0"}
    command = [sys.executable, "-m", "iomodels", model]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert '"ready"' in process.stdout.readline()
            yield process.pid
        finally:
            process.terminate()


def test_the_cpu_time_of_children_that_have_ended_is_kept():
    def cpu_us():
        return figures(Procfs(["server"], lambda _: [os.getpid()]).sample())["cpu_us"]

    before = cpu_us()
    subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.2: pass"], check=True)
    assert cpu_us() - before >= 0.15e6  # four counters, each in whole ticks


def test_how_long_a_process_ran_and_waited():
    with busy_process() as pid:
        collector = Schedstat(["server"], lambda _: [pid])
        until(lambda: figures(collector.sample())[f"ran_us/{pid}"] > 50_000)
        assert figures(collector.sample())[f"waited_us/{pid}"] >= 0


def test_a_process_of_many_threads_has_no_delay_of_its_own():
    stop = threading.Event()
    threads = [threading.Thread(target=stop.wait) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        assert figures(Schedstat(["server"], lambda _: [os.getpid()]).sample()) == {}
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_clocks_against_the_monotonic_one():
    jump_ns = {time.CLOCK_REALTIME: 0, time.CLOCK_BOOTTIME: 0, time.CLOCK_MONOTONIC: 0}
    collector = Clocks(lambda clock: time.clock_gettime_ns(clock) + jump_ns[clock])
    before = figures(collector.sample())
    jump_ns[time.CLOCK_REALTIME] = -(3 * 10**9)
    jump_ns[time.CLOCK_BOOTTIME] = 60 * 10**9
    after = figures(collector.sample())
    assert after["realtime_ms"] - before["realtime_ms"] == pytest.approx(-3000, abs=100)
    assert after["boottime_ms"] - before["boottime_ms"] == pytest.approx(60_000, abs=100)


@pytest.mark.parametrize(
    "file", ["docker/abc/cpuset.cpus.effective", "cpuset/docker/abc/cpuset.effective_cpus"]
)
def test_the_cpus_of_a_node_are_read_back(tmp_path, file):
    write(tmp_path, file, "0-1\n")

    class Running:
        def cgroup(self, node):
            return "/docker/abc"

        def pids(self, node):
            return [os.getpid()]

    nodes = (Node("server", "server", "server", cpu_set="0"), Node("master", "master", "swarm"))
    [found] = read_back(Running(), Topology("run", "trial/1", nodes, ()), "after", tmp_path)
    assert (found.node, found.when, found.asked, found.group) == ("server", "after", "0", "0-1")
    assert set(cpu_list(found.processes)) == os.sched_getaffinity(0)


def test_the_labs_own_cpu_time():
    before, until_s = figures(Orchestrator().sample())["cpu_us"], time.process_time() + 0.05
    while time.process_time() < until_s:
        pass
    assert figures(Orchestrator().sample())["cpu_us"] - before >= 0.05e6


@contextmanager
def busy_process():
    """The pid of a process that uses a CPU."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            yield process.pid
        finally:
            process.kill()


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
    series, says = read_series(tmp_path / "series.csv")
    assert says == ()
    assert series.get("server", "server", "open") == [(5.0, 7)]
    assert series.get("master", "load", "sent") == [(6.0, 9)]
    assert series.get("server", "server", "x") == []
    assert len(series.get("server", "fake", "n")) >= 3


class Counting:
    """A collector that costs the server, and is set against the server's own count."""

    source = "calls"

    def __init__(self):
        self.on = True
        self.detached = threading.Event()

    def sample(self):
        return [Sample(mono_ms(), "server", "calls", "read", 7)] if self.on else []

    def sample_beside_server(self):
        return [Sample(mono_ms(), "server", "calls", "read", 8)] if self.on else []

    def detach(self):
        self.on = False
        self.detached.set()


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
        assert calls.detached.wait(10)
    (taken,) = recorder.marks
    assert (taken.what, taken.asked_mono_ms) == ("measure", mark)
    assert set(taken.taken_mono_ms) == {"calls", "server"}
    series, _ = read_series(tmp_path / "series.csv")
    assert series.get("server", "server", "requests") == [
        (pytest.approx(taken.taken_mono_ms["server"], abs=0.001), 5)
    ]
    reads = series.get("server", "calls", "read")
    line_ms = taken.taken_mono_ms["server"]
    assert {7, 8} <= {count for _, count in reads}
    assert reads[0][0] <= line_ms <= reads[-1][0]


def test_a_server_that_does_not_answer_keeps_nothing_from_being_detached(tmp_path):
    deployment, calls = Deployment(), Counting()
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


class Holding:
    """Stands still once, until a time of the clock."""

    source = "holding"

    def __init__(self, until_ms):
        self.until_ms = until_ms
        self.again = threading.Event()

    def sample(self):
        if mono_ms() >= self.until_ms:
            self.again.set()
        while mono_ms() < self.until_ms:
            time.sleep(0.005)
        return []


def test_a_sampler_that_stood_still_says_by_how_much_it_was_late(tmp_path):
    now = mono_ms()
    holding = Holding(now + 300)
    with Recorder(Deployment(), [holding], tmp_path / "series.csv") as recorder:
        recorder.mark("measure", now + 200)
        assert holding.again.wait(10)
    late = read_series(tmp_path / "series.csv")[0].get("lab", "recorder", "late_ms")
    assert max(ms for _, ms in late) >= 100


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
