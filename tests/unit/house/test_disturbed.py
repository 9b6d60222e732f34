"""A test that the host disturbed is tried again, at most twice; on a quiet host a failure fails at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import disturbed
from tests.support.disturbed import Reading, between, read, tried_again

IDLE = dict.fromkeys(disturbed.STATES, 0.0)


def reading(at_s: float, ours_s: float = 0.0, **host_s: float) -> Reading:
    return Reading(at_s, 2, IDLE | host_s, ours_s, 0.0)


def test_what_is_neither_idle_nor_stolen_nor_ours_is_of_others() -> None:
    later = reading(10.0, 4.0, idle=13.0, iowait=0.5, softirq=0.3, steal=0.2)
    seen = between(reading(0.0), later)
    assert seen.others_cpus == pytest.approx(0.2)
    assert seen.stolen_cpus == pytest.approx(0.02)
    assert seen.counts
    assert "others used 0.200 CPUs (limit 0.05), 0.0200 were stolen" in str(seen)
    assert not between(reading(0.0), reading(10.0, 4.0, idle=16.0)).counts


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Makes every try one of 10 s in which others use so many CPUs."""

    def used(cpus: float) -> None:
        readings = (reading(10.0 * k, idle=(20.0 - 10.0 * cpus) * k) for k in range(10))
        monkeypatch.setattr(disturbed, "read", lambda: next(readings))

    return used


def failing(times: int) -> tuple[Callable[[], str], list[int]]:
    calls: list[int] = []

    def test() -> str:
        calls.append(1)
        assert len(calls) > times, "late"
        return "fine"

    return test, calls


def test_a_failure_on_a_quiet_host_fails_at_once_and_says_how_quiet(host: Callable[[float], None]) -> None:
    host(0.01)
    test, calls = failing(1)
    told: list[str] = []
    with pytest.raises(AssertionError, match="late") as caught:
        tried_again(test, told.append)()
    assert (len(calls), told) == (1, [])
    assert "others used 0.010 CPUs" in caught.value.__notes__[0]


def test_a_disturbed_failure_is_tried_again_and_told(host: Callable[[float], None]) -> None:
    host(0.5)
    test, calls = failing(1)
    told: list[str] = []
    assert tried_again(test, told.append)() == "fine"
    assert len(calls) == 2
    [line] = told
    assert "tried again (1 of 3 tries): in 10.0 s others used 0.500 CPUs" in line


def test_three_tries_are_all(host: Callable[[float], None]) -> None:
    host(0.5)
    test, calls = failing(9)
    with pytest.raises(AssertionError, match="late"):
        tried_again(test, [].append)()
    assert len(calls) == 3


def test_a_hang_is_not_tried_again(host: Callable[[float], None]) -> None:
    host(0.5)
    calls: list[int] = []

    def hangs() -> None:
        calls.append(1)
        pytest.fail("Timeout")  # as pytest-timeout does

    with pytest.raises(pytest.fail.Exception):
        tried_again(hangs, [].append)()
    assert len(calls) == 1


def test_this_hosts_counters_are_read_and_a_child_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disturbed, "ENGINE", ())  # other tests' containers come and go meanwhile
    before = read()
    pid = os.fork()
    if not pid:
        while sum(os.times()[:2]) < 0.2:
            pass
        os._exit(0)
    os.waitpid(pid, 0)
    after = read()
    assert after.cpus == os.cpu_count() or not Path("/sys/devices/system/cpu/online").exists()
    assert after.ours_s - before.ours_s >= 0.15
    assert after.host_s["idle"] >= before.host_s["idle"]
    assert between(before, after).over_s > 0
