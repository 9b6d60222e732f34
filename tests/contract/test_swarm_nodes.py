"""Master and workers as processes: the contract's events, Locust's own count, lost workers, the clock."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from lab.analysis.checks import check_trial
from lab.results.node import Verification
from tests.support import records
from tests.support.runtimes import HANGS_S, until
from tests.support.swarm_nodes import (
    Event,
    Node,
    decode,
    free_port,
    model_server,
    settings,
    swarm,
)

RESULT_KEYS = {
    "intended", "sent", "answered", "completed", "failed", "unsent", "errors", "connects", "response_hdr",
    "service_hdr", "response_censored_hdr", "service_censored_hdr", "in_flight_start", "in_flight_end",
    "queued_start", "queued_end", "lateness_hdr",
    "bytes_in", "bytes_out", "window_mono_ms", "whole", "connected_peak", "connect_ms_hdr",
    "workers", "locust", "in_flight_area_s", "in_flight_parts_s",
}  # fmt: skip
SECOND_KEYS = {
    "k", "phase", "intended", "sent", "answered", "completed", "failed", "unsent", "errors", "connected",
    "connects", "response_hdr", "service_hdr", "response_censored_hdr", "service_censored_hdr", "bytes_in",
    "bytes_out", "late_p99_us", "loop_lag_p99_us", "cpu_cores", "in_flight", "queued",
    "in_flight_area_s", "lost_s",
}  # fmt: skip
COUNTERS = (
    "intended", "sent", "answered", "completed", "failed", "unsent", "connects", "bytes_in", "bytes_out",
)  # fmt: skip


def assert_consistent(result: Event, seconds: list[Event]) -> None:
    """Assert that the result is the sum of its seconds, and that all counts agree."""
    window = [second for second in seconds if second["phase"] == "measure"]
    for key in COUNTERS:
        assert result[key] == sum(second[key] for second in window), key
    for figures in (result, result["whole"], *seconds):
        assert figures["intended"] == figures["sent"] + figures["unsent"]
        assert figures["sent"] == figures["answered"] + figures["failed"]
        for name in ("response_hdr", "service_hdr"):
            assert decode(figures[name]).get_total_count() == figures["answered"]
        gave_up = figures["failed"] + figures["unsent"]
        assert decode(figures["response_censored_hdr"]).get_total_count() == gave_up
        assert decode(figures["service_censored_hdr"]).get_total_count() == figures["failed"]
    last = {phase: [s for s in seconds if s["phase"] == phase][-1] for phase in ("warmup", "measure")}
    for name in ("in_flight", "queued"):
        assert result[f"{name}_start"] == last["warmup"][name]
        assert result[f"{name}_end"] == last["measure"][name]
    if result["in_flight_area_s"] is not None:
        assert result["in_flight_parts_s"] == pytest.approx(result["in_flight_area_s"], rel=1e-4, abs=1e-4)
    whole = result["whole"]
    assert whole["completed"] == whole["answered"]
    assert whole["sent"] == sum(second["sent"] for second in seconds)
    for key in ("sent", "answered", "failed"):
        assert whole[key] == sum(worker[key] for worker in result["workers"])
    assert result["locust"] == {"requests": whole["sent"], "failures": whole["failed"]}


@pytest.mark.parametrize("asked", [False, True])
def test_a_worker_tells_in_which_class_its_engines_are_scheduled(asked: bool) -> None:
    with swarm(settings(free_port(), engines=2, real_time=asked)) as nodes:
        nodes.workers[0].event("ready", 30.0)
        told = sorted(nodes.workers[0].named("scheduled"), key=lambda one: one["task"])
        policies = [os.sched_getscheduler(one["pid"]) for one in told]
    assert [(one["task"], one["asked"]) for one in told] == [("engine 0", asked), ("engine 1", asked)]
    for one, policy in zip(told, policies, strict=True):
        if one["policy"] == "SCHED_RR":
            assert (asked, one["why_not"], policy) == (True, None, os.SCHED_RR)
        else:
            why_not = "sched_setscheduler(2): Operation not permitted" if asked else "not asked for"
            assert (one["policy"], one["why_not"], policy) == ("SCHED_OTHER", why_not, os.SCHED_OTHER)


def test_a_load_from_hello_to_result() -> None:
    with model_server("epoll_lt", "http1", "hello") as (server, port):
        given = settings(port, workers=2, engines=2, users=50, phases={"warmup_s": 1, "measure_s": 2})
        with swarm(given) as nodes:
            nodes.start()
            result = nodes.result(30.0)
        server.end()
        served = server.named("stopped")[-1]
    events = nodes.master.events
    phases = {event["phase"]: event["starts_mono_ms"] for event in nodes.master.named("phase")}
    assert list(phases) == ["spawn", "warmup", "measure", "drain", "done"]
    assert result["window_mono_ms"] == [phases["measure"], phases["drain"]]
    assert phases["drain"] - phases["measure"] == pytest.approx(2000)
    seconds = nodes.master.named("second")
    assert [(s["k"], s["phase"]) for s in seconds] == [(0, "warmup"), (1, "measure"), (2, "measure")]
    assert all(set(second) >= SECOND_KEYS for second in seconds)
    assert set(result) >= RESULT_KEYS
    assert events[-1]["event"] == "result"
    assert all(event["mono_ms"] > 0 for event in events)
    assert_consistent(result, seconds)
    assert (result["answered"], result["whole"]["answered"], result["errors"]) == (800, 1200, {})
    assert result["connected_peak"] == served["accepted"] == 50
    assert served["requests"] == 1200
    assert [worker["index"] for worker in result["workers"]] == [0, 1]
    assert nodes.master.named("progress")
    assert not any(node.errors for node in (nodes.master, *nodes.workers))


def test_one_user_on_two_workers_still_gets_the_whole_rate() -> None:
    with (
        model_server("epoll_lt", "http1", "hello") as (_, port),
        swarm(settings(port, workers=2, users=1, phases={"warmup_s": 0, "measure_s": 1})) as nodes,
    ):
        nodes.start()
        result = nodes.result(30.0)
    assert (result["answered"], result["connected_peak"]) == (400, 1)


@pytest.mark.alone
def test_ten_thousand_connections_in_five_seconds() -> None:
    given = settings(
        0,
        users=10_000,
        workers=2,
        spawn_rate_per_s=2500,
        load={"executor": "constant-arrival-rate", "rate_per_s": 1000},
        phases={"warmup_s": 0, "measure_s": 1},
        connect_deadline_s=15,
    )
    with (
        model_server("epoll_lt", "http1", "hello", "--backlog", "4096") as (_, port),
        swarm(given | {"target": {"host": "127.0.0.1", "port": port}}) as nodes,
    ):
        nodes.start()
        spawn = nodes.master.event("phase", phase="spawn")
        warmup = nodes.master.event("phase", 30.0, phase="warmup")
        result = nodes.result(30.0, end_s=5.0)
    assert result["connected_peak"] == 10_000
    assert result["whole"]["connects"] == 10_000
    assert (result["answered"], result["errors"]) == (1000, {})
    assert warmup["mono_ms"] - spawn["mono_ms"] < 5_000


def test_users_that_cannot_connect_delay_the_load_by_no_more_than_their_deadline() -> None:
    closed_port = free_port()
    given = settings(closed_port, connect_deadline_s=0.5, phases={"warmup_s": 0, "measure_s": 1}, drain_s=0.5)
    with swarm(given) as nodes:
        nodes.start()
        result = nodes.result(30.0)
    assert (result["sent"], result["unsent"], result["connected_peak"]) == (0, 400, 0)
    assert set(result["errors"]) == {"connect_refused"}
    assert result["errors"]["connect_refused"]["count"] == result["whole"]["errors"]["connect_refused"]


def engine_pid(worker: Node) -> int:
    """Return the engine process of a worker."""
    children = f"/proc/{worker.process.pid}/task/{worker.process.pid}/children"
    with open(children) as file:  # noqa: PTH123  (procfs)
        return int(file.read().split()[0])


def lose_a_worker(number: int, whose: str) -> float:
    """Send a signal to a worker or its engine under load; return after how many ms the master told of it."""
    with (
        model_server("epoll_lt", "http1", "hello") as (_, port),
        swarm(settings(port, workers=2, phases={"warmup_s": 1, "measure_s": 20})) as nodes,
    ):
        nodes.start()
        nodes.master.event("phase", phase="measure")
        nodes.master.wait(
            20.0, lambda e: bool(e.get("response_p50_ms")), "second that all workers have reported"
        )
        victim = nodes.workers[1]
        pid = victim.process.pid if whose == "worker" else engine_pid(victim)
        at_ms = time.monotonic() * 1e3
        os.kill(pid, number)
        lost = nodes.master.event("worker_lost", 20.0)
        assert lost["worker_index"] == 1
        assert lost["says"]
        assert nodes.master.exit_code(5.0) == 1
        assert "worker 1 is lost" in nodes.master.errors
        assert nodes.workers[0].exit_code(5.0) == 0
        assert nodes.master.named("second")
        assert not nodes.master.named("result")
        return float(lost["mono_ms"]) - at_ms


@pytest.mark.alone
@pytest.mark.parametrize(
    ("number", "whose"),
    [
        (signal.SIGKILL, "worker"),
        (signal.SIGTERM, "worker"),
        (signal.SIGSTOP, "worker"),
        (signal.SIGKILL, "engine"),
    ],
    ids=["worker killed", "worker stopped", "worker hangs", "engine killed"],
)
def test_a_lost_worker_voids_the_load_and_is_named_within_five_and_a_half_seconds(
    number: int, whose: str
) -> None:
    assert lose_a_worker(number, whose) < 5_500


def test_a_worker_ends_when_its_master_is_gone() -> None:
    with model_server("epoll_lt", "http1", "hello") as (_, port), swarm(settings(port)) as nodes:
        nodes.workers[0].event("ready", 30.0)
        nodes.master.event("ready", 30.0)
        nodes.master.end(signal.SIGKILL)
        assert nodes.workers[0].exit_code(20.0) == 1
        assert "no heartbeat from the master" in nodes.workers[0].errors


@pytest.mark.alone
@pytest.mark.parametrize("phase", ["ready", "measure"])
def test_sigterm_ends_a_master_within_two_seconds(phase: str) -> None:
    with (
        model_server("epoll_lt", "http1", "hello") as (_, port),
        swarm(settings(port, phases={"warmup_s": 0, "measure_s": 20})) as nodes,
    ):
        nodes.master.event("ready", 30.0)
        if phase == "measure":
            nodes.start()
            nodes.master.event("phase", phase="measure")
        began_s = time.monotonic()
        assert nodes.master.end() == 0
        assert time.monotonic() - began_s < 2.0
        assert nodes.workers[0].exit_code(3.0) == 0


def catches(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal: SigCgt of proc(5)'s status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    mask = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt:"))
    return bool(mask >> (number - 1) & 1)


@pytest.mark.alone
def test_sigterm_ends_a_worker_that_waits_for_its_master() -> None:
    node = Node(["-m", "swarm", "worker"], settings(1))
    until(lambda: catches(node.process.pid, signal.SIGTERM), 20)  # it says nothing before it has its master
    began_s = time.monotonic()
    assert node.end() == 0
    assert time.monotonic() - began_s < 2.0


@pytest.mark.parametrize(
    ("role", "given", "says"),
    [
        ("master", {"target": None}, "target must be an object"),
        ("worker", {"wire": "smtp"}, "wire must be one of"),
        ("worker", {"handler": "helo"}, "handler must be one of"),
        ("master", {"page": {"paths": ["/nowhere"]}}, "there is no '/nowhere'"),
        ("captain", {}, "the role must be one of"),
    ],
)
def test_wrong_settings_end_with_exit_code_2(role: str, given: dict[str, Any], says: str) -> None:
    node = Node(["-m", "swarm", role], settings(1) | given)
    assert node.exit_code(30.0) == 2
    assert says in node.errors


@pytest.mark.parametrize(("wire", "handler"), [("http1", "hello"), ("echo", "echo"), ("greet", "hello")])
def test_verify_passes_a_correct_server(wire: str, handler: str) -> None:
    with model_server("blocking", wire, handler) as (_, port):
        node = Node(["-m", "swarm", "verify"], settings(port, wire=wire, handler=handler))
        verified = node.event("verified", 20.0)
        assert node.exit_code(HANGS_S) == 0
    assert verified["ok"] is True
    assert all(check["ok"] and check["says"] for check in verified["checks"])


def test_verify_fails_a_wrong_server() -> None:
    with model_server("blocking", "http1", "json") as (server, port):
        node = Node(["-m", "swarm", "verify"], settings(port))
        verified = node.event("verified", 20.0)
        assert node.exit_code(HANGS_S) == 1
        server.end()
        counted = server.named("stopped")[-1]["requests"]
    assert verified["ok"] is False
    assert "expected b'Hello, World!'" in verified["checks"][0]["says"]
    assert verified["requests"] is None, "each check ended at its first wrong answer"
    assert 0 < counted < records.VERIFIED
    told = Verification.model_validate({**verified, "when": "after", "mono_ms": records.WINDOW_MS[1] + 1000})
    stats = [
        line.replaced(requests=records.ALL + records.VERIFIED + counted * (line.mono_ms > told.mono_ms))
        for line in records.stats()
    ]
    spoilt = records.trial(verify=(records.verified("before"), told), server_stats=tuple(stats))
    found = {f.check: f for f in check_trial(spoilt)}
    assert (found["server_count"].level, found["right_answers"].level) == ("unknown", "invalid")
    assert "a verification failed" in found["server_count"].says


@pytest.mark.alone
@pytest.mark.parametrize(("handler", "code"), [("hello", 0), ("json", 1)])
def test_verify_ends_within_five_seconds_of_its_verdict(handler: str, code: int) -> None:
    with model_server("blocking", "http1", handler) as (_, port):
        node = Node(["-m", "swarm", "verify"], settings(port))
        node.event("verified", 20.0)
        assert node.exit_code(5.0) == code


PAUSE_S, WINDOW_S, RATE_PER_S = 2.0, 20, 600


@pytest.mark.alone
def test_an_open_load_shows_a_stall_that_a_closed_load_omits() -> None:
    """A server that stands still for D of T: p(q) = D - (1 - q) T in an open load; a closed one hides it."""
    phases = {"warmup_s": 1, "measure_s": WINDOW_S}
    opened = {"users": 1500, "load": {"executor": "constant-arrival-rate", "rate_per_s": RATE_PER_S}}
    closed = {"users": 10, "load": {"executor": "constant-users", "think_time_s": 0.1}}
    with model_server("epoll_lt", "http1", "hello", "--backlog", "4096") as (server, port):
        common = settings(port, phases=phases, drain_s=5, request_timeout_s=10)
        with swarm(common | opened) as one, swarm(common | closed | {"master": settings(0)["master"]}) as two:
            one.start()
            two.start()
            one.master.event("phase", phase="measure")
            middle = threading.Event()
            middle.wait(WINDOW_S / 2)  # the pause lies in the middle of the window
            server.process.send_signal(signal.SIGSTOP)
            middle.wait(PAUSE_S)
            server.process.send_signal(signal.SIGCONT)
            open_result, closed_result = one.result(30.0), two.result(30.0)
    assert open_result["answered"] == RATE_PER_S * WINDOW_S
    assert (open_result["errors"], closed_result["errors"]) == ({}, {})
    response = decode(open_result["response_hdr"])
    assert response.get_value_at_percentile(95) / 1e6 == pytest.approx(1.0, abs=0.1)
    assert response.get_value_at_percentile(99) / 1e6 == pytest.approx(1.8, abs=0.1)
    assert decode(closed_result["response_hdr"]).get_value_at_percentile(95) < 50_000
