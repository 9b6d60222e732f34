"""Runs of every version that is out there are read, and say what they said."""

import json
from typing import Any

import pytest

from lab.analysis import counted
from lab.analysis.figures import figures
from lab.analysis.histogram import quantiles
from lab.common.figure import PerRequest
from lab.common.figures import FIGURES
from lab.results import store
from lab.results.record import Series, TrialRecord
from lab.results.upgrade import SCHEMA_VERSION, upgrade
from tests.support import make_golden, records

COUNTED = [figure.name for figure in FIGURES if isinstance(figure.source, PerRequest)]
GOLDEN_1 = make_golden.GOLDEN.with_name("golden_v1")


def stored(version: int) -> list[dict[str, Any]]:
    files = sorted(GOLDEN_1.glob("trials/*/record.json"))
    found = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    assert {record["schema_version"] for record in found} == {version}
    return found


def test_a_run_of_version_1_reads_and_has_the_same_figures():
    """The last lab that wrote version 1 made `figures.json`: its quantiles are those of the answers."""
    run = store.read_run(GOLDEN_1)
    assert run.damaged == ()
    told = json.loads((GOLDEN_1 / "figures.json").read_text(encoding="utf-8"))
    assert set(told) == {trial.id for trial in run.trials}
    assert len(told) == len(stored(1)) == 6
    for trial in run.trials:
        if trial.load is None:
            told[trial.id]["errors"]["rate"] = None  # that lab said 0 where nothing was measured
        same = figures(trial).model_dump(mode="json")
        if refused := same["errors"]["users_left_out"]:  # that lab did not count them
            share = refused / trial.scenario.swarm.max_users
            told[trial.id]["errors"]["rate"] = max(told[trial.id]["errors"]["rate"], share)
        if trial.load is not None:
            answers = {
                "response_ms": trial.load.result.response_hdr,
                "service_ms": trial.load.result.service_hdr,
            }
            same |= {name: quantiles(text).model_dump(mode="json") for name, text in answers.items()}
            done, own = trial.load.result.done, counted.requests(trial, counted.window(trial))
            for name in COUNTED:  # that lab divided what the server counted by what the swarm did
                then, now = told[trial.id].pop(name), same[name]
                assert now == (None if then is None else pytest.approx(then * done / own)), name
        assert known(same, told[trial.id]) == told[trial.id]


def test_a_load_without_a_cool_down_ended_with_its_window():
    run = store.read_run(GOLDEN_1)
    assert {trial.scenario.swarm.phases.cooldown for trial in run.trials} == {0.0}
    assert {trial.marks for trial in run.trials} == {()}


def known(same: Any, told: Any) -> Any:
    """What `told` has names for; figures that came later are left out."""
    return {name: known(same[name], told[name]) for name in told} if isinstance(told, dict) else same


def test_a_run_of_version_1_knows_no_waiting_times():
    """Nine of ten requests to its select had no answer: of their quantiles only bounds are certain."""
    run = store.read_run(GOLDEN_1)
    found = [figures(trial).response_ms for trial in run.trials if trial.load]
    bounded = [one for one in found if one.at_least]
    assert bounded
    assert all(one.unanswered for one in bounded)
    assert all(not one.unanswered for one in found if not one.at_least)


def test_what_is_written_is_of_todays_version_and_reads_back():
    for record in (records.trial(), records.trial(status="failed", load=None)):
        told = json.loads(store.to_json(record.to_json()))
        assert told["schema_version"] == SCHEMA_VERSION
        assert upgrade(told) == told
        assert TrialRecord.from_json(told, record.series) == record


def test_what_version_1_wrote_otherwise_is_brought_to_todays_shape():
    old = next(record for record in stored(1) if record["load"]) | {
        "ready": {},
        "placement": {},
        "calibration": {},
    }
    old["load"]["result"]["errors"] = {"reset": 3, "timeout": {"count": 2}}
    old["load"]["groups"] = {"one": json.loads(json.dumps(old["load"]))}
    before = json.dumps(old)
    new = TrialRecord.from_json(old, Series())
    assert json.dumps(old) == before, "it is changed in a copy"
    assert (new.ready, new.placement, new.calibration) == (None, None, None)
    assert new.load is not None
    for load in (new.load, new.load.groups["one"]):
        assert {kind: seen.count for kind, seen in load.result.errors.items()} == {"reset": 3, "timeout": 2}


@pytest.mark.parametrize("version", [0, 3, None, "1"])
def test_a_version_that_nobody_here_knows_is_refused(version):
    with pytest.raises(ValueError, match="this lab reads 1 to 2"):
        upgrade({"schema_version": version})
