"""Cleaning: the newest runs stay, and those in progress, and whatever is no run."""

from __future__ import annotations

import json
import time

from lab.results import clean, store
from tests.support.runfolders import make_run


def later() -> float:
    """So long after now that every run has been quiet for long enough."""
    return time.time() + 2 * clean.QUIET_S


def test_the_oldest_go_first_and_the_newest_stay(tmp_path):
    made = [make_run(tmp_path / str(number)) for number in range(4)]
    results = tmp_path / "results"
    results.mkdir()
    runs = [run.rename(results / f"2026112{n}T000000Z-small-000{n}") for n, run in enumerate(made)]
    old = clean.old(results, keep=3)
    assert [entry.path for entry in old] == runs[:1]
    assert old[0].size_bytes == sum(p.stat().st_size for p in runs[0].rglob("*") if p.is_file()) > 0
    clean.remove(runs[0])
    assert store.list_runs(results) == runs[1:]
    assert clean.old(results, keep=3) == []


def test_a_run_in_progress_stays_until_it_has_been_quiet(tmp_path):
    run = make_run(tmp_path, missing=["thread/1"])
    make_run(tmp_path)
    assert not [entry for entry in clean.old(tmp_path, keep=1) if entry.path == run]
    assert run in [entry.path for entry in clean.old(tmp_path, keep=0, now_s=later())]


def test_an_interrupted_run_is_not_in_progress(tmp_path):
    run = make_run(tmp_path, missing=["thread/1"])
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps({**manifest, "interrupted": True}))
    assert [entry.path for entry in clean.old(tmp_path, keep=0)] == [run]


def test_a_torn_manifest_is_old_only_once_it_is_quiet(tmp_path):
    run = make_run(tmp_path)
    (run / "manifest.json").write_text("{")
    assert clean.old(tmp_path, keep=0) == []
    assert [entry.path for entry in clean.old(tmp_path, keep=0, now_s=later())] == [run]


def test_other_folders_are_left_alone(tmp_path):
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "x.json").write_text("{}")
    assert clean.old(tmp_path, keep=0, now_s=later()) == []
    assert clean.old(tmp_path / "absent", keep=0) == []
