"""The servers' benchmark works: a short round over real servers, and its rows are what they say."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench import servers

ROOT = Path(__file__).resolve().parents[2]
MISSING = [tool for tool in ("gcc", "wrk", "nginx", "taskset") if shutil.which(tool) is None]


@pytest.mark.skipif(bool(MISSING), reason=f"the benchmark needs {', '.join(MISSING)} (Debian packages)")
def test_a_short_round() -> None:
    command = [sys.executable, "bench/servers.py", "--check", "--only", "C epoll", "nginx", "epoll_lt"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=90)
    assert (done.returncode, done.stderr) == (0, "")
    table = [line.split() for line in done.stdout.splitlines()[1:]]
    assert [" ".join(line[1:-5]) for line in table] == ["C epoll", "nginx", "plain uvloop", "epoll_lt"]
    assert all(float(line[-5]) > 0.5 for line in table), "CPU per request"
    assert all(float(line[-2]) > 100 for line in table), "requests per second"


def test_ratios_are_taken_within_a_round() -> None:
    rounds = [
        {"epoll_lt": servers.Cost(6.0, 100.0, 500.0), servers.REFERENCE: servers.Cost(3.0, 50.0, 250.0)},
        {"epoll_lt": servers.Cost(40.0, 100.0, 500.0), servers.REFERENCE: servers.Cost(40.0, 50.0, 250.0)},
        {"epoll_lt": servers.Cost(9.0, 100.0, 500.0), servers.REFERENCE: servers.Cost(6.0, 50.0, 250.0)},
    ]
    row = servers.row(rounds, "epoll_lt", 100, "cpu_us_per_request", "us")
    assert (row["figure"], row["ratio"], row["spread"]) == (9.0, 1.5, [1.0, 2.0])


def test_an_unknown_peer_is_named(tmp_path: Path) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("the benchmark needs gcc (Debian package)")
    with pytest.raises(SystemExit, match="no epol; there are C epoll, nginx"):
        servers.all_peers(tmp_path, ["epol"])
