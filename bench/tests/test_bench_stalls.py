"""The table of stalls reads stored runs: each trial once, and what was not recorded is left out."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace

import pytest

from bench import stalls
from lab.common.paths import ROOT
from lab.results.record import Sample, Series, TrialRecord
from lab.results.store import read_run

START_MS = 1_000_000.0


def trial(*lost_s: float, late_ms: Sequence[float] = ()) -> TrialRecord:
    """A trial of the golden run; its engines lost this in each second, its samples began this late."""
    golden = read_run(ROOT / "tests/data/golden").trials[0]
    assert golden.load is not None
    seconds = tuple(second.replaced(lost_s=lost_s) for second in golden.load.seconds)
    result = golden.load.result.replaced(window_mono_ms=(START_MS, START_MS + 1000 * MEASURED))
    samples = [Sample(START_MS + n, "lab", "recorder", "late_ms", ms) for n, ms in enumerate(late_ms)]
    load = replace(golden.load, seconds=seconds, result=result)
    return replace(golden, load=load, series=Series.of(samples))


MEASURED = sum(s.phase == "measure" for s in read_run(ROOT / "tests/data/golden").trials[0].load.seconds)


def test_shares_are_of_the_worst_engine_and_of_the_sampler() -> None:
    found = stalls.shares([trial(0.002, 0.05, late_ms=(10.0 * MEASURED, 4.0)), replace(trial(), load=None)])
    assert {who for _, who in found} == {"engine", "sampler"}
    assert found[("all", "engine")] == [pytest.approx(0.05)]
    assert found[("all", "sampler")] == [pytest.approx(0.01)]


def test_what_was_not_recorded_is_left_out() -> None:
    assert stalls.shares([trial()]) == {}


def test_the_percentile_is_a_value_that_was_seen() -> None:
    values = [n / 1000 for n in range(1, 201)]
    assert stalls.percentile(values, 0.99) == 0.198
    assert stalls.percentile([0.3], 0.99) == 0.3


def test_it_reads_the_runs_that_are_named() -> None:
    command = [sys.executable, "bench/stalls.py", "--check", "tests/data/golden"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "limits now: suspect above 2 % of the window" in done.stdout
