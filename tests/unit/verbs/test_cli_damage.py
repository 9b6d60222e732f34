"""Damaged run folders at the command line: one line for each, and no traceback."""

from __future__ import annotations

import json
import sys

import pytest

from lab import cli
from lab.common.errors import UsageError
from lab.common.paths import ROOT
from lab.results import bundle
from lab.run import rerun
from lab.run.open_runtime import OPEN, open_runtime
from lab.scenario.resolve import Settings
from tests.support.runfolders import make_run
from tests.support.scenarios import TEXT


@pytest.fixture
def lab(monkeypatch, capsys):
    """Run the command in this process; return its output, and what it printed on standard error."""
    monkeypatch.chdir(ROOT)

    def run(*arguments, code=0):
        monkeypatch.setattr(sys, "argv", ["lab", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        done = capsys.readouterr()
        assert (ended.value.code or 0) == code, done.out + done.err
        return done.out, done.err

    return run


SUMMARIES = [
    '{"verdict": 5, "servers": 7}',
    '{"verdict": "PASS", "servers": {"a": 3}}',
    '{"verdict": "PASS"}',
    "[]",
    "not JSON",
    '{"verdict": "PA',
    "[" * 100_000,
    '{"verdict": "\\ud800", "servers": {}}',
]


@pytest.mark.parametrize("text", SUMMARIES, ids=range(len(SUMMARIES)))
def test_each_run_has_its_row_beside_one_with_an_odd_summary(lab, tmp_path, text):
    odd, whole = (make_run(tmp_path) for _ in range(2))
    (odd / "summary.json").write_text(text)
    (whole / "summary.json").write_text('{"verdict": "PASS", "servers": {"a": {"server": "thread", "n": 1}}}')
    rows = {row["run"]: row for row in json.loads(lab("runs", "--results", tmp_path, "--json")[0])}
    assert rows == {
        odd.name: {"run": odd.name, "verdict": "UNREADABLE", "servers": []},
        whole.name: {"run": whole.name, "verdict": "PASS", "servers": ["thread"]},
    }


def _folder_for_a_summary(run):
    (run / "summary.json").mkdir()


def _torn_manifest(run):
    (run / "manifest.json").write_text("{")


def _no_manifest(run):
    (run / "manifest.json").unlink()


@pytest.mark.parametrize("spoil", [_folder_for_a_summary, _torn_manifest, _no_manifest])
def test_a_run_whose_files_cannot_be_used_is_unreadable(lab, tmp_path, spoil):
    spoilt, whole = (make_run(tmp_path) for _ in range(2))
    spoil(spoilt)
    lines = [line.split() for line in lab("runs", "--results", tmp_path)[0].splitlines()]
    assert sorted(lines) == [["UNKNOWN", whole.name], ["UNREADABLE", spoilt.name]]


@pytest.mark.parametrize("name", ["foo", "", "None", "Docker"])
def test_an_unknown_runtime_is_one_error_that_names_the_known_ones(name):
    with pytest.raises(UsageError) as error, open_runtime(name, None, print):
        pytest.fail("it was opened")
    assert all(known in str(error.value) for known in OPEN)


@pytest.mark.parametrize(("recorded", "asked"), [("docker", ("--runtime", "foo")), ("foo", ()), (None, ())])
def test_a_rerun_on_an_unknown_runtime_makes_no_folder(lab, tmp_path, recorded, asked):
    run = make_run(tmp_path, environment={"runtime": recorded})
    _, err = lab("rerun", run, "--results", tmp_path, *asked, code=2)
    assert err.startswith("lab: unknown runtime ")
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir() if path.is_dir() and path != run] == []


def test_a_torn_manifest_is_not_packed(lab, tmp_path):
    run = make_run(tmp_path / "runs")
    _torn_manifest(run)
    _, err = lab("bundle", run, "--output", tmp_path / "run.tar.gz", code=2)
    assert "manifest.json cannot be read" in err
    assert len(err.splitlines()) == 1
    with pytest.raises(UsageError):
        bundle.pack(run, tmp_path / "run.tar.gz")
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


@pytest.mark.parametrize("pattern", ["*/server.log", "*/*"])
def test_a_run_without_logs_says_so(lab, tmp_path, pattern):
    run = make_run(tmp_path)
    for path in (run / "trials").glob(pattern):
        path.unlink()
    for node in ((), ("server",)):
        assert lab("logs", run, *node, code=2) == ("", f"lab: {run}: there are no logs\n")


def _torn_values(run):
    values = run / "scenario.resolved.yaml"
    values.write_text(values.read_text()[:-20])


def _empty_values(run):
    (run / "scenario.resolved.yaml").write_text("")


def _values_of_another(run):
    other = make_run(run.parent / "other", overrides=("swarm.users=3",))
    (run / "scenario.resolved.yaml").write_text((other / "scenario.resolved.yaml").read_text())


def _all_of_another(run):
    other = make_run(run.parent / "other", text=TEXT.replace("epoll_lt", "poll"))
    for name in ("scenario.resolved.yaml", "scenario.resolved.json"):
        (run / name).write_text((other / name).read_text())


def _torn_json(run):
    (run / "scenario.resolved.json").write_text("{")


def _no_scenario(run):
    (run / "scenario.yaml").unlink()


@pytest.mark.parametrize(
    ("spoil", "names"),
    [
        (_torn_values, "scenario.resolved.yaml"),
        (_empty_values, "scenario.resolved.yaml"),
        (_values_of_another, "scenario.resolved.yaml: differs"),
        (_all_of_another, "no server epoll_lt"),
        (_torn_json, "scenario.resolved.json: cannot be read"),
        (_no_scenario, "scenario.yaml: there is no such file"),
    ],
)
def test_a_rerun_of_a_damaged_run_is_one_error(tmp_path, spoil, names):
    run = make_run(tmp_path / "runs")
    spoil(run)
    with pytest.raises(UsageError) as error:
        rerun.read(run, Settings())
    assert names in str(error.value)
