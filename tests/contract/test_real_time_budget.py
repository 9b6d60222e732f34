"""A real-time budget in a control group of the lab's own: permitted, used up, refused, given back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lab.analysis import checks
from lab.analysis.model import Finding
from lab.collect.realtime import RealTimeDelay
from lab.common import proc, scheduling
from lab.common.errors import HostCannot
from lab.common.owner import Owner
from lab.common.paths import IMAGES
from lab.results.node import ProcessClass
from lab.results.record import Sample, Series
from lab.runtime import cleanup, journal, realtime
from tests.support.real_time import SCHED_RR, budget_taken, burning, need_budget, only_one, stat_policy
from tests.support.records import PHASES, WINDOW_MS, trial
from tests.support.runtimes import run_id

NOBODY = 65534


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("LAB_STATE_DIR", str(tmp_path / "state"))
    with only_one():
        yield run_id()


@pytest.fixture
def notes(run: str) -> Iterator[journal.Journal]:
    one = journal.Journal(run, Owner.myself())
    yield one
    one.close(all_gone=True)


@pytest.fixture
def group(run: str, notes: journal.Journal) -> Iterator[realtime.RealTimeGroup]:
    need_budget()
    one = realtime.RealTimeGroup(f"lab-{run}", notes)
    yield one
    one.remove()


@pytest.mark.root
def test_a_process_becomes_real_time_and_the_budget_is_given_back(
    run: str, group: realtime.RealTimeGroup
) -> None:
    free_us = realtime.free_budget_us(realtime.CPU_ROOT)
    with burning(0.1) as pid, burning(0.1) as other:
        budget = group.add(pid, proc.cpu_group(pid) or "")
        assert (stat_policy(pid), stat_policy(other)) == (SCHED_RR, os.SCHED_OTHER)
        assert budget == scheduling.Budget(free_us, 1_000_000)
        assert realtime.free_budget_us(realtime.CPU_ROOT) == 0
    group.remove()
    assert realtime.free_budget_us(realtime.CPU_ROOT) == free_us
    assert not (realtime.CPU_ROOT / f"lab-{run}").exists()


@pytest.mark.root
def test_what_a_dead_run_held_is_given_back_by_its_journal(run: str, group: realtime.RealTimeGroup) -> None:
    with burning(0.1) as pid:
        group.add(pid, "/")
    assert (realtime.CPU_ROOT / f"lab-{run}").exists()
    cleanup.end_processes(run)
    assert not (realtime.CPU_ROOT / f"lab-{run}").exists()
    assert not [entry for entry in journal.found() if entry.run == run]


@pytest.mark.root
def test_without_a_budget_the_process_stays_as_it_was(run: str, notes: journal.Journal) -> None:
    with budget_taken(f"test-{run}"), burning(0.1) as pid:
        before = proc.cpu_group(pid)
        one = realtime.RealTimeGroup(f"lab-{run}", notes)
        with pytest.raises(HostCannot, match="0 ms of real-time budget are free in 1000 ms of each CPU"):
            one.add(pid, before or "")
        assert (stat_policy(pid), proc.cpu_group(pid)) == (os.SCHED_OTHER, before)
        one.remove()


def delays_of(group: realtime.RealTimeGroup, pid: int, path: Path, budget_us: int) -> list[Finding]:
    """Have a process run for some seconds with a budget; what the check finds in what was sampled of it."""
    group.add(pid, proc.cpu_group(pid) or "")
    (path / "cpu.rt_runtime_us").write_text(str(budget_us))
    one = ProcessClass(
        node="worker-0", task="engine 0", pid=pid, policy="SCHED_RR", by="outside",
        runtime_us=budget_us, period_us=1_000_000,
    )  # fmt: skip
    collector, samples = RealTimeDelay(lambda: [one]), list[Sample]()
    for _ in range(9):
        samples += collector.sample()
        time.sleep(0.5)
    # The record's clock is another: the samples are moved into its window.
    shift_ms = WINDOW_MS[0] - samples[0].mono_ms
    assert PHASES["measure"] == WINDOW_MS[0]
    moved = Series.of(one._replace(mono_ms=one.mono_ms + shift_ms) for one in samples)
    record = replace(trial(), scheduling=(one,))
    record.series.points.update(moved.points)
    return [finding for finding in checks.check_trial(record) if finding.check == "real_time_throttled"]


@pytest.mark.root
@pytest.mark.alone
def test_a_budget_that_is_too_small_is_seen_and_a_large_one_is_silent(
    run: str, group: realtime.RealTimeGroup
) -> None:
    path = realtime.CPU_ROOT / f"lab-{run}"
    with burning(0.5) as pid:
        assert delays_of(group, pid, path, 900_000) == []
    with burning(0.5) as pid:
        [finding] = delays_of(group, pid, path, 200_000)
    assert finding.level == "invalid"
    assert "worker-0: engine 0 was throttled" in finding.says
    # It runs for 0.2 s of each second; the rest it waits.
    assert finding.value is not None
    assert 1_500 <= finding.value <= 4_000


@pytest.mark.root
def test_a_node_of_a_lab_in_the_real_time_class_is_not_in_it() -> None:
    settings = json.dumps({"parent": os.getpid(), "cpus": [], "nofile": None})
    show = "import os; print(os.sched_getscheduler(0))"
    launch = [sys.executable, "-I", "-S", str(Path(realtime.__file__).with_name("launch.py"))]
    told = subprocess.run(
        ["chrt", "--rr", "1", *launch, settings, sys.executable, "-c", show],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert told.stdout == f"{os.SCHED_OTHER}\n"


@pytest.mark.root
def test_a_user_without_privilege_is_told_why_not() -> None:
    code = (
        "import os\nfrom kernel import scheduling\n"
        f"os.setresuid({NOBODY}, {NOBODY}, {NOBODY})\n"
        "print(scheduling.make_real_time(0), scheduling.policy(0))"
    )
    environment = {**os.environ, "PYTHONPATH": str(IMAGES)}
    told = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert told.stdout == "sched_setscheduler(2): Operation not permitted SCHED_OTHER\n"
