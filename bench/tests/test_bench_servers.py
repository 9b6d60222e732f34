"""The servers' benchmark works: a short round over real servers, and its rows are what they say."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench import servers
from bench._servers_rows import REFERENCE, SAME_WORK, Cost, row
from lab.common.paths import ROOT

MISSING = [tool for tool in ("gcc", "wrk", "nginx", "taskset") if shutil.which(tool) is None]


needs_tools = pytest.mark.skipif(
    bool(MISSING), reason=f"the benchmark needs {', '.join(MISSING)} (Debian packages)"
)


def of_a_short_round() -> list[list[str]]:
    """Return the rows of its table, in words."""
    command = [sys.executable, "bench/servers.py", "--check", "--only", "C epoll", "nginx", "epoll_lt"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=90)
    assert (done.returncode, done.stderr) == (0, "")
    return [line.split() for line in done.stdout.splitlines()[1:]]


@needs_tools
def test_a_short_round() -> None:
    table = of_a_short_round()
    names = ["C epoll", "nginx", "plain uvloop", "epoll_lt", "uvloop"]
    assert [" ".join(line[1:-7]) for line in table] == names
    assert all(float(line[-7]) > 0.5 for line in table), "CPU per request"
    assert all(float(line[-2]) > 0 for line in table), "requests per second"


@needs_tools
@pytest.mark.alone
def test_a_short_round_has_more_than_a_hundred_requests_a_second() -> None:
    assert all(float(line[-2]) > 100 for line in of_a_short_round())


def test_ratios_are_taken_within_a_round() -> None:
    rounds = [
        {"epoll_lt": Cost(6.0, 100.0, 500.0), REFERENCE: Cost(3.0, 50.0, 250.0)},
        {"epoll_lt": Cost(40.0, 100.0, 500.0), REFERENCE: Cost(40.0, 50.0, 250.0)},
        {"epoll_lt": Cost(9.0, 100.0, 500.0), REFERENCE: Cost(6.0, 50.0, 250.0)},
    ]
    found = row(rounds, "epoll_lt", 100, "cpu_us_per_request", "us", REFERENCE)
    assert (found["figure"], found["ratio"], found["spread"]) == (9.0, 1.5, [1.0, 2.0])
    alone = row(rounds, "epoll_lt", 100, "cpu_us_per_request", "us", SAME_WORK)
    assert (alone["figure"], alone["ratio"], alone["spread"]) == (9.0, None, None)


def test_who_cannot_hold_so_many_is_left_out() -> None:
    assert "at most 1024" in servers.Peer([], int, most=1024).why_not(1000)
    assert "too much" in servers.Peer([], int, planned_bytes=1 << 40).why_not(100)
    assert servers.Peer([], int, most=1024, planned_bytes=1000).why_not(100) == ""


def test_a_server_that_fails_has_no_rows_and_the_others_have(monkeypatch: pytest.MonkeyPatch) -> None:
    def cost(peer: servers.Peer, *_: object, look_at_memory: bool) -> Cost:
        if peer.command == ["bad"]:
            raise servers.Failure("no answer")
        return Cost(5.0, 100.0, 200.0 if look_at_memory else None)

    monkeypatch.setattr(servers, "cost", cost)
    peers = {name: servers.Peer([name], int) for name in ("good", "bad", REFERENCE)}
    rows, failed = servers.measured(peers, 100, 3, 1, random.Random(7))
    assert failed
    assert {row["server"] for row in rows} == {"good", REFERENCE}
    assert {row["figure"] for row in rows} == {5.0, 100.0, 200.0}


def test_an_unknown_peer_is_named(tmp_path: Path) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("the benchmark needs gcc (Debian package)")
    with pytest.raises(SystemExit, match="no epol; there are C epoll, nginx"):
        servers.all_peers(tmp_path, ["epol"])
