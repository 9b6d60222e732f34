"""What a trial waits for at its server, and what becomes of a server that breaks the contract."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lab.common.clock import mono_ms
from lab.common.errors import Exit, NoMeasurement
from lab.plan import plan
from lab.plan.capacity import place
from lab.results.node import ServerReady
from lab.run import server_state
from lab.run.record_builder import RecordBuilder
from lab.runtime import ExecResult, NodeExit
from tests.support.scenarios import HOST, resolved

STATS = {"event": "stats", "mono_ms": 5.0, "requests": 7, "open": 0, "tls_handshakes": 3}
CHECK = {"name": "answers", "ok": True, "says": "right"}
VERIFIED = {"event": "verified", "mono_ms": 4.0, "ok": True, "requests": 2, "checks": [CHECK]}


class Deployment:
    """A server that printed these lines, and answers a verification with this text."""

    def __init__(self, *events: dict[str, Any], out: str = "", ended: NodeExit | None = None) -> None:
        self._events, self._out, self._ended = list(events), out, ended

    def wait_event(self, *_: object) -> dict[str, Any]:
        return self._events[0]

    def events(self, node: str) -> list[dict[str, Any]]:
        assert node == "server"
        return self._events

    def exec(self, *_: object) -> ExecResult:
        return ExecResult(1, self._out, "Traceback\nno route to host\n")

    def exited(self, node: str) -> NodeExit | None:
        return self._ended if node == "server" else None


def test_a_server_of_ones_own_may_print_more_than_the_contract_asks():
    ready = server_state.ready(Deployment({"event": "ready", "backlog": 9, "tls": True}))  # type: ignore[arg-type]
    assert (ready.backlog, ready.to_json()["tls"]) == (9, True)


def test_a_ready_line_that_breaks_the_contract_is_no_measurement():
    with pytest.raises(NoMeasurement, match=r"breaks images/CONTRACT.md: backlog: Input should be"):
        server_state.ready(Deployment({"event": "ready", "backlog": "many"}))  # type: ignore[arg-type]


def test_the_verification_is_found_among_other_lines():
    told = "starting\n3\n" + json.dumps({"event": "log", "says": "x"}) + "\n" + json.dumps(VERIFIED)
    found = server_state.verify(Deployment(out=told), "worker-0", "before")  # type: ignore[arg-type]
    assert (found.when, found.requests) == ("before", 2)
    assert server_state.require_right(found) is found


def test_a_verification_that_nobody_could_make_says_why():
    with pytest.raises(NoMeasurement, match=r"exit 1\): no route to host"):
        server_state.verify(Deployment(out='{"event": "verified"}'), "worker-0", "after")  # type: ignore[arg-type]


class Signalled(Deployment):
    """A server with these processes, which the engine sends signals to as well."""

    def __init__(self, *pids: int, ended: NodeExit | None = None) -> None:
        super().__init__(ended=ended)
        self._pids = list(pids)
        self.sent: list[str] = []

    def pids(self, _: str) -> list[int]:
        return self._pids

    def signal(self, _: str, name: str) -> None:
        self.sent.append(name)


ASKED = ServerReady(stats_signal="SIGUSR2")


def test_a_server_that_is_visible_is_asked_directly():
    with subprocess.Popen(["sleep", "60"]) as process:
        deployment = Signalled(process.pid)
        with server_state.asking(deployment, ASKED) as ask:  # type: ignore[arg-type]
            assert ask is not None
            ask()
        assert process.wait(10) == -signal.SIGUSR2  # what is no server ends by it
    assert deployment.sent == []


def test_a_server_that_is_hidden_is_asked_through_the_engine():
    deployment = Signalled()
    with server_state.asking(deployment, ASKED) as ask:  # type: ignore[arg-type]
        assert ask is not None
        ask()
    assert deployment.sent == ["SIGUSR2"]


def test_a_server_that_ended_or_names_no_signal_is_not_asked():
    deployment = Signalled(ended=NodeExit(0))
    with server_state.asking(deployment, ASKED) as ask:  # type: ignore[arg-type]
        assert ask is not None
        ask()
    assert deployment.sent == []
    with server_state.asking(deployment, ServerReady()) as ask:  # type: ignore[arg-type]
        assert ask is None


def test_connections_are_seen_closed_as_soon_as_the_server_is_asked():
    deployment = Deployment()

    def ask() -> None:
        deployment._events.append({**STATS, "mono_ms": mono_ms() + 1})

    server_state.wait_connections_closed(deployment, ask)  # type: ignore[arg-type]
    assert len(deployment._events) == 1


def test_a_wrong_answer_is_named():
    wrong = {**VERIFIED, "ok": False, "checks": [CHECK, {**CHECK, "ok": False, "says": "404"}]}
    found = server_state.verify(Deployment(out=json.dumps(wrong)), "worker-0", "before")  # type: ignore[arg-type]
    with pytest.raises(NoMeasurement, match="answers: 404"):
        server_state.require_right(found)


def test_a_server_that_ended_is_said_with_its_reason():
    server_state.require_alive(Deployment())  # type: ignore[arg-type]
    with pytest.raises(server_state.ServerDied, match=r"SIGKILL, out of memory") as caught:
        server_state.require_alive(Deployment(ended=NodeExit(137, "SIGKILL", True)))  # type: ignore[arg-type]
    assert caught.value.exit_code == Exit.THRESHOLD


def test_statistics_that_break_the_contract_are_left_out_and_noted_once(tmp_path: Path):
    scenario = resolved(tmp_path).scenario
    trial = plan.expand(resolved(tmp_path)).trials[0]
    builder = RecordBuilder(trial)
    broken = {**STATS, "requests": "seven"}
    builder.collect_ends(Deployment({"event": "ready"}, STATS, broken, broken))  # type: ignore[arg-type]
    record = builder.record(place(HOST, scenario))
    assert [stats.requests for stats in record.server_stats] == [7]
    assert record.server_stats[0].to_json() == STATS
    [warning] = record.warnings
    assert "requests: Input should be" in warning


@pytest.mark.parametrize(("connections", "waits_s"), [(0, 5.0), (10_000, 30.0)])
def test_the_wait_for_closed_connections_ends_later_for_many(
    monkeypatch: pytest.MonkeyPatch, connections: int, waits_s: float
) -> None:
    now_s = [100.0]
    monkeypatch.setattr(server_state, "mono_ms", lambda: 1000 * now_s[0])
    monkeypatch.setattr(server_state.time, "sleep", lambda pause_s: now_s.append(now_s.pop() + pause_s))
    stays = Deployment({**STATS, "open": connections})  # its line is older than the wait
    server_state.wait_connections_closed(stays)  # type: ignore[arg-type]
    assert now_s[0] - 100 == pytest.approx(waits_s, abs=2 * server_state.POLL_S)
