"""Merging runs: all trials of all, none twice, nothing of other scenarios, and where each came from."""

from __future__ import annotations

import hashlib
import json

import pytest

from lab.common.errors import LabError, UsageError
from lab.report import write_all
from lab.results import merge, store
from lab.results.manifest import Repeated
from tests.support.runfolders import make_run
from tests.support.scenarios import HOST, TEXT


def manifest(run):
    return json.loads((run / "manifest.json").read_text())


def test_the_jobs_of_a_matrix_become_one_run(tmp_path):
    one = make_run(tmp_path / "a", only=["thread"])
    two = make_run(tmp_path / "b", only=["epoll_lt"])
    merged = merge.merge([one, two], tmp_path / "results", ["merge"])
    run = store.read_run(merged)
    assert [trial.id for trial in run.trials] == ["thread/1", "epoll_lt/1"]
    assert [trial.reason for trial in run.trials] == [one.name, two.name]
    assert not run.damaged
    assert (merged / "scenario.yaml").read_text() == TEXT
    assert (merged / "trials/epoll_lt-1/server.log").read_text() == f"epoll_lt/1 of {two.name}\n"
    assert store.find(tmp_path / "results", "latest").resolve() == merged
    sources = manifest(merged)["sources"]
    assert [(s["run"], s["trials"]) for s in sources] == [
        (one.name, ["thread/1"]),
        (two.name, ["epoll_lt/1"]),
    ]
    assert manifest(merged)["machines"] == 1


def test_every_report_is_made_of_a_merged_run(tmp_path):
    runs = [make_run(tmp_path / name, only=[name]) for name in ("thread", "epoll_lt")]
    merged = merge.merge(runs, tmp_path / "results", [])
    summary = write_all(merged)
    assert set(summary.servers) == {"thread", "epoll_lt"}
    assert (merged / "report.html").exists()


def test_the_same_server_twice_becomes_further_repeats_and_blocks_stay_blocks(tmp_path):
    text = TEXT + "repeat: 2\n"
    one, two = (make_run(tmp_path / name, text=text) for name in "ab")
    run = store.read_run(merge.merge([one, two], tmp_path / "results", []))
    ids = [trial.id for trial in run.trials]
    assert sorted(ids) == sorted(f"{server}/{n}" for server in ("thread", "epoll_lt") for n in (1, 2, 3, 4))
    assert {trial.reason for trial in run.trials if trial.repeat in (1, 2)} == {one.name}
    assert {trial.reason for trial in run.trials if trial.repeat in (3, 4)} == {two.name}
    planned = run.manifest.plan.trials
    assert [trial.id for trial in planned] == ids
    shuffled = [trial["server"] for trial in manifest(two)["plan"]["trials"]]
    assert [trial.server for trial in planned if trial.source == two.name] == shuffled


def test_sweep_points_are_kept_apart(tmp_path):
    text = TEXT + "sweep: {swarm.users: [2, 4]}\n"
    one, two = (make_run(tmp_path / name, text=text, only=["thread"]) for name in "ab")
    run = store.read_run(merge.merge([one, two], tmp_path / "results", []))
    assert sorted(trial.id for trial in run.trials) == [
        "thread,users=2/1", "thread,users=2/2", "thread,users=4/1", "thread,users=4/2",
    ]  # fmt: skip
    assert all(trial.point["swarm.users"] == int(trial.id.split("=")[1][0]) for trial in run.trials)


def test_a_trial_that_never_came_about_stays_planned(tmp_path):
    one = make_run(tmp_path / "a", only=["thread"])
    two = make_run(tmp_path / "b", only=["epoll_lt"], missing=["epoll_lt/1"])
    merged = merge.merge([one, two], tmp_path / "results", [])
    assert [trial["id"] for trial in manifest(merged)["plan"]["trials"]] == ["thread/1", "epoll_lt/1"]
    assert [trial.id for trial in store.read_run(merged).trials] == ["thread/1"]


def test_other_machines_are_counted(tmp_path):
    other = {"host": {**HOST.to_json(), "cpu_model": "another"}}
    runs = [make_run(tmp_path / "a", only=["thread"]), make_run(tmp_path / "b", environment=other)]
    found = manifest(merge.merge(runs, tmp_path / "results", []))
    assert found["machines"] == 2
    assert [s["environment"]["host"]["cpu_model"] for s in found["sources"]] == ["test", "another"]


def test_a_merged_run_merged_again_keeps_count_of_its_machines(tmp_path):
    other = {"host": {**HOST.to_json(), "cpu_model": "another"}}
    runs = [make_run(tmp_path / "a", only=["thread"]), make_run(tmp_path / "b", environment=other)]
    merged = merge.merge(runs, tmp_path / "results", [])
    third = make_run(tmp_path / "c", only=["thread"])
    assert manifest(merge.merge([merged, third], tmp_path / "results", []))["machines"] == 2


def test_trials_that_were_set_aside_come_along_with_their_reasons(tmp_path):
    runs = [make_run(tmp_path / name, only=["thread"]) for name in "ab"]
    for run, why in zip(runs, ("late", "stolen"), strict=True):
        store.RunFolder(run).set_aside("thread-1", "thread/1", why)
    merged = merge.merge(runs, tmp_path / "results", [])
    assert store.read_run(merged).repeated == (
        Repeated(trial="thread/1", says="late"),
        Repeated(trial="thread/2", says="stolen"),
    )
    record = json.loads((merged / "repeated/thread-2.1/record.json").read_text())
    assert (record["id"], record["repeat"], record["reason"]) == ("thread/2", 2, runs[1].name)
    assert (merged / "repeated/thread-2.1/server.log").exists()


def test_a_run_that_a_threshold_ended_says_so_when_merged(tmp_path):
    runs = [make_run(tmp_path / name, text=TEXT + "repeat: 2\n") for name in "ab"]
    crossed = {"metric": "latency", "threshold": "p(50)<2ms", "value": 3.0, "says": "too slow"}
    facts = {"trial": "thread/1", **crossed}
    store.RunFolder(runs[1]).write("manifest.json", {**manifest(runs[1]), "aborted": facts})
    merged = merge.merge(runs, tmp_path / "results", [])
    ended = {"trial": "thread/3", "sources": [runs[1].name], **crossed}
    assert manifest(merged)["aborted"] == ended


REFUSED = [
    ({"text": TEXT + "seed: 9\n"}, "scenario"),
    ({"overrides": ("swarm.users=20",)}, "--set"),
    ({"environment": {"runtime": "local"}}, "runtime"),
]


@pytest.mark.parametrize(("changes", "says"), REFUSED)
def test_runs_that_do_not_belong_together_are_refused(changes, says, tmp_path):
    runs = [make_run(tmp_path / "a"), make_run(tmp_path / "b", **changes)]
    with pytest.raises(UsageError, match=says):
        merge.merge(runs, tmp_path / "results", [])
    assert not (tmp_path / "results").exists()


def test_a_run_given_twice_and_a_folder_that_is_none_are_refused(tmp_path):
    one = make_run(tmp_path / "a")
    with pytest.raises(UsageError, match="given twice"):
        merge.merge([one, one], tmp_path / "results", [])
    with pytest.raises(UsageError, match="not a run"):
        merge.merge([one, tmp_path], tmp_path / "results", [])


def test_runs_of_several_scenarios_are_grouped(tmp_path):
    a, b = (make_run(tmp_path / name, only=[server]) for name, server in (("a", "thread"), ("b", "epoll_lt")))
    other = make_run(tmp_path / "c", text=TEXT.replace("small", "other"))
    assert merge.by_scenario([a, other, b]) == [[a, b], [other]]


def with_file(run, name, text):
    """The run with a file that its scenario names."""
    (run / name).parent.mkdir(exist_ok=True)
    (run / name).write_text(text)
    facts = manifest(run) | {"files_sha256": {name: hashlib.sha256(text.encode()).hexdigest()}}
    (run / "manifest.json").write_text(json.dumps(facts))
    return run


def test_files_that_the_scenario_names_come_along_and_must_be_the_same(tmp_path):
    one, two, other = (make_run(tmp_path / name) for name in "abc")
    runs = [with_file(run, "mine/users.py", "x = 1") for run in (one, two)]
    merged = merge.merge(runs, tmp_path / "results", [])
    assert (merged / "mine/users.py").read_text() == "x = 1"
    with pytest.raises(UsageError, match="differ in their files"):
        merge.merge([one, with_file(other, "mine/users.py", "x = 2")], tmp_path / "results", [])
    with pytest.raises(UsageError, match="leads out"):
        merge.merge([with_file(one, "../users.py", ""), two], tmp_path / "results", [])


def spoil(run, *path, value):
    """Put a value into the run's manifest."""
    whole = inner = manifest(run)
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    (run / "manifest.json").write_text(json.dumps(whole))


ABORTED = {"metric": "errors", "threshold": "rate < 1%", "says": "so"}
FIRST = ("plan", "trials", 0)
FOREIGN = [
    ((*FIRST, "id"), "weird", "plan.trials.0.id"),
    ((*FIRST, "id"), "../../../evil/1", "plan.trials.0.id"),
    ((*FIRST, "id"), "thread/0", "plan.trials.0.id"),
    ((*FIRST, "id"), "thread/01", "plan.trials.0.id"),
    ((*FIRST, "id"), "thread/\u0663", "plan.trials.0.id"),
    ((*FIRST, "id"), f"thread/{'9' * 50}", "plan.trials.0.id"),
    ((*FIRST, "server"), "epoll_lt", "plan.trials.0: "),
    ((*FIRST, "repeat"), 2, "plan.trials.0: "),
    (("aborted",), {**ABORTED, "trial": "weird"}, "aborted.trial"),
    (("aborted",), {**ABORTED, "trial": "../../../evil/1"}, "aborted.trial"),
    (("sources",), [{"run": "../evil", "trials": []}], "sources.0.run"),
    (("sources",), [{"run": "a", "trials": ["weird"]}], "sources.0.trials.0"),
    (("run",), "../../evil", "run: "),
    (("scenario",), "../../evil", "scenario: "),
]


@pytest.mark.parametrize(("path", "value", "field"), FOREIGN, ids=range(len(FOREIGN)))
def test_names_that_are_none_are_one_error_that_names_file_and_field(tmp_path, path, value, field):
    runs = [make_run(tmp_path / "here/runs", only=[name]) for name in ("epoll_lt", "thread")]
    spoil(runs[1], *path, value=value)
    with pytest.raises(UsageError, match=r"manifest\.json") as error:
        merge.merge(runs, tmp_path / "here/results", [])
    assert f"({field}" in str(error.value)
    assert runs[1].name in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "here/results").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


@pytest.mark.parametrize("lost", ["scenario.yaml", "scenario.resolved.yaml"])
def test_a_merge_that_fails_leaves_no_folder(tmp_path, lost):
    runs = [make_run(tmp_path / name, only=[name]) for name in ("thread", "epoll_lt")]
    (runs[0] / lost).unlink()
    with pytest.raises(LabError, match=f"merge: .*{lost}"):
        merge.merge(runs, tmp_path / "results", [])
    assert list((tmp_path / "results").iterdir()) == []


def test_a_merge_of_a_plan_with_one_trial_twice_leaves_no_folder(tmp_path):
    runs = [make_run(tmp_path / name, only=[name]) for name in ("thread", "epoll_lt")]
    trial = manifest(runs[1])["plan"]["trials"][0]
    spoil(runs[1], "plan", "trials", value=[trial, trial])
    with pytest.raises(UsageError, match=r"plan: .*epoll_lt/1 is planned twice"):
        merge.merge(runs, tmp_path / "results", [])
    assert not (tmp_path / "results").exists()
