"""Counting: over threads, over forks, and as the contract's JSON."""

from __future__ import annotations

import json
import os
import sys
import threading

import pytest
from iomodels.stats import FIELDS, Stats, as_json, emit, log


def test_counters_of_ended_threads_add_up() -> None:
    stats = Stats()

    def work() -> None:
        with stats.thread_counters() as counters:
            for _ in range(1000):
                counters.requests += 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stats.totals().requests == 8000


def test_a_child_counts_in_memory_that_its_parent_reads() -> None:
    stats = Stats()
    stats.new_counters().requests = 5
    stats.make_slots(2)
    slot = stats.take_slot()
    assert slot is not None
    pid = stats.fork(slot)
    if pid == 0:
        stats.use_shared_counters().requests += 37
        os._exit(0)
    os.waitpid(pid, 0)
    assert stats.totals().requests == 42
    stats.child_ended(slot)
    assert stats.totals().requests == 42
    assert stats.take_slot() == slot
    assert stats.totals().requests == 42, "a slot that is taken again begins at 0"


def test_slots_run_out_and_can_be_taken_again() -> None:
    stats = Stats()
    stats.make_slots(2)
    first, second = stats.take_slot(), stats.take_slot()
    assert stats.take_slot() is None
    assert first is not None
    assert second is not None
    stats.free_slot(first)
    assert stats.take_slot() == first


def test_the_reporter_sums_while_slots_are_taken_and_freed() -> None:
    stats = Stats()
    stats.make_slots(64)
    ended = threading.Event()
    failed: list[BaseException] = []

    def report() -> None:
        try:
            while not ended.is_set():
                stats.totals()
        except BaseException as error:
            failed.append(error)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # so that the threads alternate within the sum
    reporter = threading.Thread(target=report)
    reporter.start()
    try:
        for _ in range(100):
            slots = [stats.take_slot() for _ in range(64)]
            for slot in slots:
                assert slot is not None
                stats.free_slot(slot)
    finally:
        ended.set()
        reporter.join()
        sys.setswitchinterval(before)
    assert not failed


def test_json_has_the_names_of_the_contract(capfd: pytest.CaptureFixture[str]) -> None:
    stats = Stats()
    counters = stats.new_counters()
    counters.accepted, counters.closed = 7, 3
    stats.error("reset", "one")
    stats.error("reset", "two")
    found = as_json(stats.totals())
    assert found["open"] == 4
    assert found["errors"] == {"reset": 2}
    contract = """
        accepted closed open open_peak requests bytes_in bytes_out errors wakeups ready eagain
        signals completions overflows cpu_user_us cpu_system_us switches_voluntary switches_involuntary
        rss_peak_bytes
    """
    assert set(found) == set(contract.split())
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [line["says"] for line in lines] == ["one (further ones are only counted)"]


def test_a_line_is_one_json_object(capfd: pytest.CaptureFixture[str]) -> None:
    emit("ready", port=1)
    log("info", "x" * 9999)
    ready, said = capfd.readouterr().out.splitlines()
    assert json.loads(ready)["port"] == 1
    assert isinstance(json.loads(ready)["mono_ms"], float)
    assert len(said) < 4096


def test_each_error_kind_has_a_field() -> None:
    from iomodels.stats import ERROR_KINDS

    assert {f"error_{kind}" for kind in ERROR_KINDS} == {f for f in FIELDS if f.startswith("error_")}
