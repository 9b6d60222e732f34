"""A trial that was disturbed is measured again: within bounds, counted, shown, and nothing is deleted."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.analysis import checks
from lab.common.errors import Exit
from lab.plan import plan
from lab.plan.capacity import place
from lab.results import store
from lab.results.link import LinkRecord
from lab.results.manifest import Repeated
from lab.results.node import Calibration
from lab.results.record import TrialRecord
from lab.run import experiment
from lab.run.abort import AbortGate
from lab.run.experiment import Laboratory
from tests.support import records
from tests.support.records import counter, judged, series, trial, with_load
from tests.support.runfolders import make_run
from tests.support.scenarios import HOST, TEXT, resolved
from tests.support.watcher import Watcher

REPEATS = TEXT + "repeat: 5\n"


def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disturbed: Callable[[TrialRecord], str | None]
) -> tuple[store.RunFolder, plan.Plan, Watcher]:
    """A run whose trials measure nothing; `disturbed` tells which are."""
    expanded = plan.expand(resolved(tmp_path, REPEATS))
    folder, watcher = store.RunFolder.create(tmp_path, "small"), Watcher()
    unused: Any = None
    laboratory = Laboratory(
        runtime=unused, driver=unused, links=unused, capacity=unused, addressing=unused,
        placement=place(HOST, expanded.scenario), watcher=watcher,  # type: ignore[arg-type]
        calibrate=lambda _: Calibration(ceiling_per_s=9.0), disturbed=lambda record, _: disturbed(record),
        gate=AbortGate(),
    )  # fmt: skip
    monkeypatch.setattr(experiment, "run_trial", lambda *_: None)
    assert experiment.run(expanded, folder, laboratory) == {}
    return folder, expanded, watcher


def test_one_that_was_disturbed_is_measured_again_at_once(tmp_path, monkeypatch) -> None:
    reasons = {"thread/2": ["late"]}
    folder, expanded, watcher = run(
        tmp_path, monkeypatch, lambda r: reasons[r.id].pop() if reasons.get(r.id) else None
    )
    place_ = watcher.steps.index("thread/2")
    assert watcher.steps[place_ + 1 : place_ + 3] == ["disturbed, so measured again: late", "thread/2"]
    kept = sorted(path.name for path in (folder.path / "trials").glob("*/record.json"))
    assert len(kept) == len(expanded.trials) == 10
    aside = folder.path / "repeated/thread-2.1"
    assert json.loads((aside / "record.json").read_text())["id"] == "thread/2"
    record = json.loads((folder.path / "trials/thread-2/record.json").read_text())
    assert record["calibration"] == {"ceiling_per_s": 9.0}


def test_at_most_a_fifth_is(tmp_path, monkeypatch) -> None:
    folder, expanded, _ = run(tmp_path, monkeypatch, lambda _: "late")
    assert expanded.repeats_allowed == 2
    names = sorted(path.name for path in (folder.path / "repeated").iterdir())
    assert names == sorted(f"{trial.folder}.1" for trial in expanded.trials[:2]), "the first two, once each"
    assert len(list((folder.path / "trials").glob("*/record.json"))) == 10


def test_one_that_is_disturbed_again_stands(tmp_path, monkeypatch) -> None:
    folder, _, watcher = run(tmp_path, monkeypatch, lambda r: "late" if r.id == "thread/2" else None)
    assert watcher.steps.count("thread/2") == 2
    assert [path.name for path in (folder.path / "repeated").iterdir()] == ["thread-2.1"]
    assert (folder.path / "trials/thread-2/record.json").exists()


def test_at_least_one_may_be() -> None:
    assert plan.Plan(None, ()).repeats_allowed == 1  # type: ignore[arg-type]


def test_it_is_counted_and_shown_and_keeps_a_pass(tmp_path) -> None:
    path = make_run(tmp_path)
    store.RunFolder(path).set_aside("thread-1", "thread/1", "loop lagged")
    assert store.read_run(path).repeated == (Repeated(trial="thread/1", says="loop lagged"),)
    made = records.run(trial())
    repeated = replace(made, repeated=({"trial": "epoll_lt/1", "says": "loop lagged"},))
    outcome = checks.check(repeated, judged(trial()))
    [finding] = [f for f in outcome.findings if f.check == "repeated"]
    assert finding.level == "suspect"
    assert "1 trial was disturbed and measured again (epoll_lt/1: loop lagged)" in finding.says
    assert not [f for f in checks.check(made, judged(trial())).findings if f.check == "repeated"]


def lagging(record: TrialRecord) -> TrialRecord:
    assert record.load is not None
    workers = [worker.replaced(loop_lag_p99_us=30_000) for worker in record.load.result.workers]
    return with_load(record, workers=workers)


def test_only_a_disturbance_from_outside_is_a_reason() -> None:
    assert checks.disturbed(trial()) is None
    assert "event loop lag" in (checks.disturbed(lagging(trial())) or "")
    by_the_server = with_load(trial(), errors={"wrong_answer": {"count": 1}})
    assert any(f.level == "invalid" for f in checks.check_trial(by_the_server))
    assert checks.disturbed(by_the_server) is None
    quota = {("worker-0", "cgroup", f"cpu_{name}"): counter(0, 10) for name in ("periods", "throttled")}
    assert checks.disturbed(lagging(trial(series=series(quota)))) is None, "it would be so again"
    dead = trial(status="failed", load=None, reason="worker-0 died", exit_code=int(Exit.UNTRUSTED))
    assert checks.disturbed(dead) is None
    problems = ("its rule has vanished",)
    gone = LinkRecord(endpoints=("swarm", "servers"), backend="netem", problems=problems)
    vanished = lagging(trial(links=(gone,)))
    invalid = {f.check for f in checks.check_trial(vanished) if f.level == "invalid"}
    assert {"link_in_force", "loop_lag"} <= invalid
    assert checks.disturbed(vanished) is None, "a rule does not vanish because others are busy"
    names = {check.name for check in checks.TRIAL_CHECKS}
    assert not (checks.DISTURBANCES | checks.NO_DISTURBANCE) - names
