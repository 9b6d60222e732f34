"""Thresholds with `abort_on_fail`: what is seen live, what at a trial's end, what becomes of the run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lab.common.errors import Exit
from lab.plan import plan
from lab.plan.capacity import place
from lab.plan.render import Addressing, swarm_settings
from lab.results import store
from lab.results.clean import _complete
from lab.results.node import Aborted, Calibration
from lab.results.record import TrialRecord
from lab.results.swarm_event import PhaseStart
from lab.run import experiment
from lab.run.abort import AbortGate, Live, at_end
from lab.run.experiment import Laboratory, TrialAborted
from tests.support.records import counted, hdr, judged, planned, progress, trial, with_load, with_scenario
from tests.support.scenarios import HOST, TEXT, resolved
from tests.support.watcher import Watcher

ENDS = {"abort_on_fail": True}
SLOW = {"threshold": "p(50)<2ms", **ENDS}


def window(times: Mapping[int, int], samples: int = 500, **counts: int) -> dict[str, Any]:
    sums = {"intended": samples, "sent": samples, "answered": samples, "failed": 0, "unsent": 0}
    return sums | {"response_hdr": hdr(times, samples), "service_hdr": hdr({100: 1}, samples)} | counts


def seen(conditions: Mapping[str, list[Any]], so_far: Mapping[str, Any], after_s: float = 1.5) -> Any:
    """What a live look says that far into the window."""
    live = Live({"epoll_lt": conditions}, "epoll_lt")
    told = progress(mono_ms=5000 + 1000 * after_s, window=so_far)
    assert live(told) is None, "the window has not begun"
    assert live(PhaseStart(phase="measure", starts_mono_ms=5000.0)) is None
    return live(told)


def test_a_bound_that_is_crossed_in_the_window_ends_it() -> None:
    found = seen({"latency": ["p(50)<1ms", SLOW]}, window({3000: 1}))
    assert found.value == pytest.approx(3.0, rel=0.01)
    assert found.says == "threshold latency p(50)<2ms: p(50) is 3.001 ms (1.5 s into the window)"
    assert seen({"latency": [SLOW]}, window({1500: 1})) is None
    assert seen({"latency": ["p(50)<2ms"]}, window({3000: 1})) is None, "it was not asked to end the run"


def test_what_too_few_samples_say_ends_nothing_yet() -> None:
    p99 = {"threshold": "p(99)<2ms", **ENDS}
    assert seen({"latency": [p99]}, window({3000: 1}, 500)) is None
    assert seen({"latency": [p99]}, window({3000: 1}, 10_000))


def test_errors_count_with_what_was_never_sent() -> None:
    condition = {"threshold": "rate<1%", **ENDS}
    assert seen({"errors": [condition]}, window({100: 1}, failed=3, unsent=3)).value == 6 / 500
    assert seen({"errors": [condition]}, window({100: 1}, failed=4)) is None


def test_it_may_be_given_time() -> None:
    patient = {**SLOW, "delay_abort_eval": "3s"}
    assert seen({"latency": [patient]}, window({3000: 1}), after_s=2.9) is None
    assert seen({"latency": [patient]}, window({3000: 1}), after_s=3.0)


def test_a_lower_bound_and_what_the_swarm_cannot_see_wait_for_the_end() -> None:
    conditions = {
        "latency": [{"threshold": "count>2000", **ENDS}],
        "requests_per_s": [{"threshold": "value>9000/s", **ENDS}],
        "cpu_us_per_request": [{"threshold": "value<1us", **ENDS}],
    }
    assert seen(conditions, window({100: 1})) is None
    for metric in ("requests_per_s", "cpu_us_per_request"):
        found = at_end(asked(trial(), {metric: conditions[metric]}))
        assert found
        assert found.metric == metric
        assert "at the end of the trial" in found.says


def asked(record: TrialRecord, conditions: Mapping[str, list[Any]]) -> TrialRecord:
    return with_scenario(record, thresholds={"epoll_lt": conditions})


def test_at_the_end_one_that_holds_or_of_an_invalid_trial_ends_nothing() -> None:
    assert at_end(asked(trial(), {"latency": [SLOW]})) is None
    dear = {"cpu_us_per_request": [{"threshold": "value<1us", **ENDS}]}
    assert (
        at_end(asked(with_load(trial(), connected_peak=500, errors={"emfile": {"count": 3}}), dear)) is None
    )
    assert at_end(asked(trial(status="failed", load=None), dear)) is None


def test_one_without_data_fails() -> None:
    unmeasured = "signals_per_request"  # the healthy trial is of epoll_lt, which takes none
    found = at_end(asked(trial(), {unmeasured: [{"threshold": "value<9", **ENDS}]}))
    assert found
    assert f"cannot be decided ({unmeasured} was not measured)" in found.says


THRESHOLDS = """\
repeat: 3
thresholds:
  thread: {latency: [{threshold: 'p(50)<2ms', abort_on_fail: true}]}
"""


def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_trial: Any) -> tuple[store.RunFolder, Any, Any]:
    expanded = plan.expand(resolved(tmp_path, TEXT + THRESHOLDS))
    folder = store.RunFolder.create(tmp_path, "small")
    unused: Any = None
    laboratory = Laboratory(
        runtime=unused, driver=unused, links=unused, capacity=unused, addressing=unused,
        placement=place(HOST, expanded.scenario), watcher=Watcher(),  # type: ignore[arg-type]
        calibrate=lambda _: Calibration(), disturbed=lambda *_: None, gate=AbortGate(),
    )  # fmt: skip
    monkeypatch.setattr(experiment, "run_trial", run_trial)
    return folder, expanded, experiment.run(expanded, folder, laboratory)


def test_the_run_stops_there_and_says_so(tmp_path, monkeypatch) -> None:
    facts = {"metric": "latency", "threshold": "p(50)<2ms", "value": 3.0, "says": "too slow"}

    def crossing(_: Any, one: plan.Trial, *__: Any) -> None:
        if one.server == "thread":
            raise TrialAborted(Aborted.model_validate(facts))

    folder, expanded, ended = run(tmp_path, monkeypatch, crossing)
    first = next(place for place, one in enumerate(expanded.trials) if one.server == "thread")
    assert ended == {"aborted": {"trial": expanded.trials[first].id, **facts}}
    told = {"run": folder.id, "scenario": "small", "plan": expanded.to_json(), **ended}
    folder.write("manifest.json", told)
    records = sorted(path.parent.name for path in folder.path.glob("trials/*/record.json"))
    assert records == sorted(one.folder for one in expanded.trials[: first + 1])
    assert _complete(folder.path), "it is no run that died"


def test_its_verdict_is_a_failed_threshold() -> None:
    facts = {"metric": "latency", "threshold": "p(50)<2ms", "value": 3.0, "says": "too slow"}
    failed = trial(
        "epoll_lt/2", status="failed", load=None, reason="aborted: too slow", exit_code=Exit.THRESHOLD,
        aborted=facts,
    )  # fmt: skip
    first, second = (asked(one, {"latency": [SLOW]}) for one in (trial("epoll_lt/1"), failed))
    plan_ = planned(*(trial(f"epoll_lt/{n}") for n in (1, 2, 3)))
    summary = judged(first, second, aborted={"trial": "epoll_lt/2", **facts}, plan=plan_)
    assert (summary.verdict, summary.exit_code) == ("FAIL", 99)
    assert ("complete", "suspect") in counted(summary)
    [finding] = [f for f in summary.findings if f.check == "complete"]
    assert "the run ended at epoll_lt/2, 1 of 3 trials were not run: too slow" in finding.says
    [row] = summary.thresholds
    assert (row.ok, row.value, row.trial, row.says) == (False, 3.0, "epoll_lt/2", "too slow")


def test_an_end_excuses_no_other_run_that_it_was_merged_with() -> None:
    plan_ = planned(*(trial(f"epoll_lt/{n}") for n in (1, 2, 3, 4)))
    for one, source in zip(plan_["trials"], "aabb", strict=True):
        one["source"] = source
    facts = {"metric": "latency", "threshold": "p(50)<2ms", "value": 3.0, "says": "too slow"}
    aborted = {"trial": "epoll_lt/1", "sources": ["a"], **facts}
    trials = (trial("epoll_lt/1"), trial("epoll_lt/3"))
    found = [f for f in judged(*trials, aborted=aborted, plan=plan_).findings if f.check == "complete"]
    assert sorted(f.level for f in found) == ["suspect", "unknown"]
    says = " ".join(f.says for f in found)
    assert "1 of 4 trials were not run: too slow" in says
    assert "1 of 4 trials have no record: epoll_lt/4" in says


def test_the_swarm_is_asked_for_the_window_where_one_may_end_it(tmp_path) -> None:
    trials = plan.expand(resolved(tmp_path, TEXT + THRESHOLDS)).trials
    told = {one.server: swarm_settings(one, Addressing()).tell_window for one in trials}
    assert told == {"thread": True, "epoll_lt": False}
