"""A generator that stands still loses time, and the run says so instead of blaming the server."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.lab_command import Project, said
from tests.support.runtimes import until

SCENARIO = """\
# A closed load whose engine stands still 7 times for 150 ms.
name: closed-stall
servers:
  epoll_lt: {model: epoll_lt}
handler: {sleep: 100ms}
swarm:
  users: 300
  workers: 1
  spawn-rate: 300
  load: {executor: constant-users, think-time: 0s}
  phases: {warmup: 1s, measure: 8s}
"""
STOPS, STOP_S = 7, 0.15


def test_a_generator_that_stood_still_makes_a_trial_invalid(tmp_path: Path) -> None:
    project = Project(tmp_path, SCENARIO, "--no-calibration", "--no-repeats", "--runtime", "local")
    log = "*/trials/epoll_lt-1/master.log"
    with project.start() as process:
        until(lambda: any('"measure"' in file.read_text() for file in project.results.glob(log)), 60)
        engines = list(engines_below(process.pid))
        stop(engines)
        process.communicate(timeout=120)
    assert len(engines) == 1
    assert process.returncode == 5
    [found] = [f for f in project.summary["findings"] if f["check"] == "generator_stalls"]
    assert (found["level"], project.summary["verdict"]) == ("invalid", "INVALID")
    assert found["value"] >= STOPS * (STOP_S - 0.02) / 8, said(project.summary, "generator_stalls")
    assert project.summary["checks"]["little_law"] == {"ok": 1}


def stop(pids: list[int]) -> None:
    """Stop processes again and again, each time as long as they then run."""
    for _ in range(STOPS):
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for pid in pids:
                os.kill(pid, number)
            time.sleep(STOP_S)


def engines_below(pid: int) -> Iterator[int]:
    """Yield the engines among the descendants of a process."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    below = [pid]
    for each in below:
        below += parents.get(each, [])
    for each in below:
        if b"\0swarm\0engine\0" in Path(f"/proc/{each}/cmdline").read_bytes():
            yield each
