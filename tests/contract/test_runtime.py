"""One suite over every runtime: what `lab.runtime` promises, held by processes and by containers alike."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from lab.common import proc
from lab.common.errors import HostCannot, NoMeasurement
from lab.plan.node_settings import ServerSettings
from lab.plan.topology import DATA, Network, Node, NodeLimits, Topology
from lab.runtime import Deployment, Runtime
from lab.runtime.local import LocalRuntime
from tests.support.runtimes import HANGS_S, docker_runtime, run_id, until

SAY = """
import json, os, signal, sys, time
def say(event, **more):
    mono_ms = time.clock_gettime(time.CLOCK_MONOTONIC) * 1e3
    # one write(2), as handlers of signals may say something too: print is not reentrant
    os.write(1, json.dumps({"event": event, "mono_ms": mono_ms, **more}).encode() + b"\\n")
"""
# Says ready, answers SIGUSR1, ends on SIGTERM.
NODE = (
    SAY
    + """
signal.signal(signal.SIGUSR1, lambda *_: say("usr1"))
def end(*_):
    say("stopped"); sys.exit(0)
signal.signal(signal.SIGTERM, end)
say("ready", pid=os.getpid(), value=os.environ.get("LAB_HANDLER"))
print("plain text", flush=True); print("on standard error", file=sys.stderr, flush=True)
while True:
    time.sleep(0.02); say("tick")
"""
)
STUBBORN = (
    SAY
    + """
signal.signal(signal.SIGTERM, lambda *_: say("deaf"))
say("ready")
while True: time.sleep(1)
"""
)

Up = Callable[..., AbstractContextManager[Deployment]]


@pytest.fixture(params=["local", pytest.param("docker", marks=pytest.mark.docker)])
def runtime(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Runtime]:
    monkeypatch.setenv("LAB_STATE_DIR", str(tmp_path / "state"))
    if request.param == "local":
        yield LocalRuntime()
    else:
        with docker_runtime() as runtime:
            yield runtime


@pytest.fixture
def up(runtime: Runtime, tmp_path: Path) -> Up:
    def start(*nodes: Node) -> AbstractContextManager[Deployment]:
        topology = Topology(run_id(), "trial-1", nodes, (Network(DATA),))
        return runtime.up(topology, tmp_path / "logs")

    return start


def node(name: str, code: str, **more: Any) -> Node:
    return Node(name, "server", "server", argv=("python", "-c", code), networks=(DATA,), **more)


def test_nodes_start_in_order_and_say_ready(up: Up) -> None:
    with up(node("b", NODE), node("a", NODE), node("c", NODE)) as deployment:
        ready = [deployment.wait_event(name, "ready", 10)["mono_ms"] for name in ("b", "a", "c")]
    assert len(ready) == 3


def settings(handler: str) -> ServerSettings:
    return ServerSettings("", "http1", handler, "0.0.0.0", 0, 1, 1)


def test_settings_reach_the_node(up: Up) -> None:
    with up(node("one", NODE, settings=settings("ü 1"))) as deployment:
        assert deployment.wait_event("one", "ready", 10)["value"] == "ü 1"


def test_other_nodes_are_reached_by_address(up: Up) -> None:
    server = (
        SAY
        + """
import socket
listener = socket.create_server(("0.0.0.0", 0)); say("ready", port=listener.getsockname()[1])
peer, _ = listener.accept(); peer.sendall(b"hello"); peer.close(); time.sleep(60)
"""
    )
    with up(node("server", server), node("client", NODE)) as deployment:
        port = deployment.wait_event("server", "ready", 10)["port"]
        peer = (deployment.address("server", DATA), port)
        ask = f"import socket; print(socket.create_connection({peer!r}, 5).recv(9))"
        assert deployment.exec("client", ["python", "-c", ask], 10).out == "b'hello'\n"


def test_exec_gives_code_and_both_streams(up: Up) -> None:
    with up(node("one", NODE, settings=settings("7"))) as deployment:
        code = "import os, sys; print(os.environ['LAB_HANDLER']); print('err', file=sys.stderr); sys.exit(5)"
        result = deployment.exec("one", ["python", "-c", code], 10)
    assert (result.code, result.out, result.err) == (5, "7\n", "err\n")


def test_exec_output_is_whole_every_time(up: Up) -> None:
    with up(node("one", NODE)) as deployment:
        outs = [deployment.exec("one", ["echo", "short"], 10).out for _ in range(20)]
        big = deployment.exec("one", ["python", "-c", "print('x' * 3_000_000)"], 20).out
    assert outs == ["short\n"] * 20
    assert len(big) == 3_000_001


def test_exec_has_a_deadline(up: Up) -> None:
    late = pytest.raises(NoMeasurement, match=r"one: sleep did not end within 0\.3 s")
    with up(node("one", NODE)) as deployment, late:
        deployment.exec("one", ["sleep", "600"], 0.3)  # which is longer than this test may take


def test_signal_reaches_the_first_process(up: Up) -> None:
    with up(node("one", NODE)) as deployment:
        deployment.wait_event("one", "ready", 10)
        deployment.signal("one", "SIGUSR1")
        deployment.wait_event("one", "usr1", HANGS_S)


def test_events_past_and_future_and_by_subscription(up: Up) -> None:
    seen: list[str] = []
    enough = threading.Event()

    def callback(name: str, event: Any) -> None:
        seen.append(f"{name}:{event['event']}")
        if len(seen) >= 3:
            enough.set()

    with up(node("one", NODE)) as deployment:
        deployment.wait_event("one", "tick", 10)
        deployment.subscribe(callback)
        assert enough.wait(10)
        assert deployment.wait_event("one", "ready", HANGS_S) == deployment.events("one")[0]
    assert set(seen) <= {"one:tick"}


def test_a_callback_that_raises_is_reported_at_the_end(up: Up) -> None:
    def callback(name: str, event: Any) -> None:
        raise ZeroDivisionError("mine")

    def use() -> None:
        with up(node("one", NODE)) as deployment:
            deployment.subscribe(callback)
            deployment.wait_event("one", "tick", 10)

    with pytest.raises(ZeroDivisionError, match="mine"):
        use()


def test_pause_freezes_and_unpause_thaws(up: Up) -> None:
    with up(node("one", NODE)) as deployment:
        deployment.wait_event("one", "tick", 10)
        deployment.pause("one")
        before = settled(lambda: len(deployment.events("one")))
        deployment.unpause("one")
        until(lambda: len(deployment.events("one")) > before)


def test_a_paused_node_can_be_stopped(up: Up) -> None:
    with up(node("one", NODE)) as deployment:
        deployment.wait_event("one", "ready", 10)
        deployment.pause("one")
        assert deployment.stop("one", HANGS_S).code == 0


def test_stop_takes_in_the_last_line(up: Up) -> None:
    with up(node("one", NODE)) as deployment:
        deployment.wait_event("one", "ready", 10)
        assert deployment.exited("one") is None
        exit_ = deployment.stop("one", HANGS_S)
        assert (exit_.code, exit_.signal) == (0, None)
        assert deployment.events("one")[-1]["event"] == "stopped"
        assert deployment.exited("one") == exit_ == deployment.stop("one", HANGS_S)


def test_stop_kills_after_its_grace(up: Up) -> None:
    with up(node("one", STUBBORN)) as deployment:
        deployment.wait_event("one", "ready", 10)
        exit_ = deployment.stop("one", 1.0)
        assert (exit_.code, exit_.signal) == (137, "SIGKILL")
        deployment.wait_event("one", "deaf", HANGS_S)


def test_the_end_of_a_node_is_seen_with_its_code_and_last_lines(up: Up) -> None:
    with up(node("one", SAY + "say('ready'); print('why', file=sys.stderr); sys.exit(42)")) as deployment:
        until(lambda: deployment.exited("one") is not None)
        exit_ = deployment.exited("one")
        assert exit_ is not None
        assert exit_.code == 42
        with pytest.raises(NoMeasurement, match=r"one: ended with exit code 42 before 'never'(.|\n)*why"):
            deployment.wait_event("one", "never", HANGS_S)


def test_a_crash_by_signal_is_named(up: Up) -> None:
    with up(node("one", SAY + "say('ready'); os.kill(os.getpid(), signal.SIGSEGV)")) as deployment:
        until(lambda: deployment.exited("one") is not None)
        exit_ = deployment.exited("one")
    assert exit_ is not None
    assert (exit_.code, exit_.signal) == (139, "SIGSEGV")


def test_waiting_has_a_deadline_that_says_what_was_printed(up: Up) -> None:
    with up(node("one", NODE)) as deployment:
        deployment.wait_event("one", "tick", 10)
        with pytest.raises(NoMeasurement, match=r"one: no 'never' within 0\.2 s; its last lines(.|\n)*tick"):
            deployment.wait_event("one", "never", 0.2)


def test_an_unknown_node_is_named_with_those_there_are(up: Up) -> None:
    with up(node("one", NODE)) as deployment, pytest.raises(NoMeasurement, match=r"no node 'two'.*one"):
        deployment.exited("two")


def test_the_log_holds_every_byte_of_both_streams(up: Up) -> None:
    code = "import sys\nfor k in range(20000): print(k, 'x' * 50)\nprint('end', file=sys.stderr)"
    with up(node("one", code)) as deployment:
        until(lambda: deployment.exited("one") is not None, 20)
        text = deployment.log_path("one").read_text()
    numbers = [line.split()[0] for line in text.splitlines() if line != "end"]
    assert numbers == [str(k) for k in range(20000)]
    assert "end" in text.splitlines()


def test_short_lives_lose_nothing(up: Up) -> None:
    nodes = [node(f"n{k}", SAY + f"say('hello', k={k})") for k in range(6)]
    with up(*nodes) as deployment:
        assert [deployment.wait_event(f"n{k}", "hello", 10)["k"] for k in range(6)] == list(range(6))


def test_a_line_beyond_the_limit_is_reported_and_the_next_is_read(up: Up) -> None:
    code = SAY + "print('{\"event\": \"' + 'x' * 400_000 + '\"}', flush=True); say('after'); time.sleep(60)"
    with up(node("one", code)) as deployment:
        deployment.wait_event("one", "after", 10)
        assert [event["event"] for event in deployment.events("one")] == ["log", "after"]
        until(lambda: deployment.log_path("one").stat().st_size > 400_000)


def test_pids_are_this_hosts_and_the_first_process_leads(up: Up, runtime: Runtime) -> None:
    code = SAY + "child = os.fork()\nif child: say('ready')\ntime.sleep(60)"
    with up(node("one", code)) as deployment:
        deployment.wait_event("one", "ready", 10)
        pids = deployment.pids("one")
        assert len(pids) == 2
        stat = Path(f"/proc/{pids[1]}/stat").read_text()
        assert int(stat[stat.rindex(")") + 2 :].split()[1]) == pids[0]
        group = deployment.cgroup("one")
        assert (group is None) == (not runtime.isolated)


def test_cpus_and_open_files_are_as_asked(up: Up) -> None:
    cpu = min(os.sched_getaffinity(0))
    code = (
        SAY
        + "import resource; say('ready', cpus=list(os.sched_getaffinity(0)), nofile=resource.getrlimit(7))"
    )
    with up(node("one", code, cpu_set=str(cpu), limits=NodeLimits(nofile=777))) as deployment:
        ready = deployment.wait_event("one", "ready", 10)
    assert (ready["cpus"], ready["nofile"]) == ([cpu], [777, 777])


def test_more_open_files_than_the_host_allows_is_the_hosts_fault(up: Up) -> None:
    with (
        pytest.raises(HostCannot, match="one"),
        up(node("one", NODE, limits=NodeLimits(nofile=2_000_000_000))),
    ):
        pytest.fail("it started")


def test_nothing_is_left_when_all_is_well(up: Up, tmp_path: Path) -> None:
    orphan = (
        SAY
        + """
if os.fork() == 0:
    os.setsid(); signal.signal(signal.SIGTERM, signal.SIG_IGN); say("child")
time.sleep(60)
"""
    )
    with up(node("one", orphan)) as deployment:
        deployment.wait_event("one", "child", 10)
        pids = deployment.pids("one")
    until(lambda: all(proc.start_ticks(pid) is None for pid in pids))
    assert list((tmp_path / "state/journal").iterdir()) == []


def test_nothing_is_left_when_the_body_raises(up: Up, tmp_path: Path) -> None:
    pids: list[int] = []

    def use() -> None:
        with up(node("one", NODE)) as deployment:
            deployment.wait_event("one", "ready", 10)
            pids.extend(deployment.pids("one"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        use()
    assert pids
    until(lambda: all(proc.start_ticks(pid) is None for pid in pids))
    assert list((tmp_path / "state/journal").iterdir()) == []


def test_events_are_json_all_through(up: Up) -> None:
    with up(node("one", NODE)) as deployment:
        deployment.wait_event("one", "tick", 10)
        deployment.stop("one", HANGS_S)
        lines = deployment.log_path("one").read_text().splitlines()
        events = [json.loads(line) for line in lines if line.startswith("{")]
        assert deployment.events("one") == events


def settled(value: Callable[[], int]) -> int:
    """The value once it has stayed the same for half a second. Raises AssertionError at the deadline."""
    seen, since, started = value(), time.monotonic(), time.monotonic()
    while time.monotonic() - since < 0.5:
        assert time.monotonic() - started < HANGS_S, "it never settles"
        time.sleep(0.02)
        if (now := value()) != seen:
            seen, since = now, time.monotonic()
    return seen


@pytest.mark.alone
def test_calls_and_ends_of_nodes_are_done_within_five_seconds(up: Up) -> None:
    crash = (
        SAY + "signal.signal(signal.SIGUSR1, lambda *_: os.kill(os.getpid(), 11))\nwhile True: time.sleep(1)"
    )
    with up(node("one", NODE), node("two", crash)) as deployment:
        deployment.wait_event("one", "ready", 10)
        began_s = time.monotonic()
        with pytest.raises(NoMeasurement, match=r"one: sleep did not end within 0\.3 s"):
            deployment.exec("one", ["sleep", "30"], 0.3)
        assert time.monotonic() - began_s < 5
        deployment.signal("one", "SIGUSR1")
        deployment.wait_event("one", "usr1", 5)
        deployment.signal("two", "SIGUSR1")
        until(lambda: deployment.exited("two") is not None, 5)
        deployment.pause("one")
        paused = settled(lambda: len(deployment.events("one")))
        deployment.unpause("one")
        until(lambda: len(deployment.events("one")) > paused, 5)
        deployment.pause("one")
        pids = deployment.pids("one")
        assert deployment.stop("one", 5).code == 0
    until(lambda: all(proc.start_ticks(pid) is None for pid in pids), 5)
