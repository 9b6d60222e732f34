"""Records and the results folder: what is written is what is read, and torn files lose only themselves."""

import json
import os

import pytest

from lab.common.errors import LabError, UsageError
from lab.common.trial_key import TrialKey
from lab.results.record import Sample, Series, TrialRecord
from lab.results.store import RunFolder, SeriesFile, find, list_runs, read_run, read_series, write_atomically
from tests.support import records


def test_a_counter_between_samples_is_interpolated():
    series = Series.of(
        [Sample(t, "server", "cgroup", "cpu_us", v) for t, v in ((0, 0), (1000, 100), (2000, 300))]
    )
    assert series.at("server", "cgroup", "cpu_us", 1500) == 200
    assert series.increase("server", "cgroup", "cpu_us", (500, 1500)) == 150
    assert series.increase("server", "cgroup", "cpu_us", (0, 5000)) is None
    assert series.increase("server", "cgroup", "absent", (0, 1)) is None
    assert series.within("server", "cgroup", "cpu_us", (500, 2000)) == [100, 300]
    assert series.highest("server", "cgroup", "cpu_us") == 300


def make_record(name="thread/1"):
    return TrialRecord(
        id=name,
        server="epoll_lt",
        repeat=1,
        point={},
        status="ok",
        scenario=records.scenario(),
        load=records.load(),
        stamps=("not isolated",),
    )


def planned(name):
    key = TrialKey.parse(name)
    return {"id": name, "server": key.server, "repeat": key.repeat, "point": {}}


def make_run(tmp_path, *names):
    folder = RunFolder.create(tmp_path, "small")
    folder.write(
        "manifest.json",
        {"run": folder.id, "scenario": "small", "plan": {"trials": [planned(name) for name in names]}},
    )
    for name in names:
        path = folder.trial(TrialKey.parse(name).folder)
        folder.write(f"trials/{path.name}/record.json", make_record(name).to_json())
        series = SeriesFile(path / "series.csv")
        series.append([Sample(1.0, "server", "cgroup", "cpu_us", 2.5)])
        series.close()
    folder.point_latest()
    return folder


def test_a_run_is_read_as_it_was_written(tmp_path):
    folder = make_run(tmp_path, "thread/1", "epoll_lt/1")
    run = read_run(folder.path)
    assert [t.id for t in run.trials] == ["thread/1", "epoll_lt/1"]
    first = run.trials[0]
    assert first.load == make_record().load
    assert first.stamps == ("not isolated",)
    assert first.series.get("server", "cgroup", "cpu_us") == [(1.0, 2.5)]
    assert not run.damaged


def test_a_torn_record_loses_only_itself(tmp_path):
    folder = make_run(tmp_path, "thread/1", "epoll_lt/1")
    torn = folder.path / "trials" / "thread-1" / "record.json"
    torn.write_text(torn.read_text()[:40])
    with (folder.path / "trials" / "epoll_lt-1" / "series.csv").open("a") as file:
        file.write("12.0,server,cg")
    run = read_run(folder.path)
    assert [t.id for t in run.trials] == ["epoll_lt/1"]
    torn, lost = run.damaged
    assert (lost.trial, lost.lost) == ("thread/1", True)
    assert torn == ("epoll_lt/1", "series.csv: 1 damaged row is left out", False)


def test_runs_are_found_by_path_id_prefix_and_age(tmp_path):
    with pytest.raises(UsageError, match="no runs in"):
        find(tmp_path, "latest")
    first = make_run(tmp_path, "thread/1").path
    with pytest.raises(UsageError, match="there is only one run"):
        find(tmp_path, "latest~1")
    second = first.with_name("99999999T000000Z-small-ffff")
    second.mkdir()
    (second / "manifest.json").write_text("{}")
    assert list_runs(tmp_path) == [first, second]
    assert find(tmp_path, "latest") == second
    assert find(tmp_path, "latest~1") == first
    assert find(tmp_path, first.name[:10]) == first
    assert find(tmp_path, str(first)) == first
    for wrong, says in (
        ("latest~2", "only 2 runs"),
        ("latest~x", "latest~1"),
        ("nothing", "newest is"),
        ("", "could be"),
        (str(first / "manifest.json"), "manifest.json is no run"),
    ):
        with pytest.raises(UsageError, match=says):
            find(tmp_path, wrong)
    with pytest.raises(UsageError, match="not a run"):
        read_run(tmp_path)


def test_a_file_is_whole_or_absent(tmp_path):
    target = tmp_path / "x.json"
    write_atomically(target, "one")
    with pytest.raises(LabError, match="cannot be written"):
        write_atomically(tmp_path / "no" / "x.json", "two")
    assert target.read_text() == "one"
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_is_one_clear_error_and_keeps_what_was_there(tmp_path):
    target = tmp_path / "x.json"
    write_atomically(target, "one")
    # Every write to /dev/full fails with ENOSPC (full(4)).
    (tmp_path / f".x.json.{os.getpid()}.tmp").symlink_to("/dev/full")
    with pytest.raises(LabError, match=r"x\.json: cannot be written: No space left on device"):
        write_atomically(target, "two")
    assert target.read_text() == "one"
    assert list(tmp_path.iterdir()) == [target]


def test_series_csv_survives_a_cut(tmp_path):
    path = tmp_path / "series.csv"
    file = SeriesFile(path)
    file.append([Sample(i, "server", "cgroup", "cpu_us", i) for i in range(100)])
    file.close()
    whole = path.read_bytes()
    for cut in range(60, len(whole), 97):
        path.write_bytes(whole[:cut])
        series, ignored = read_series(path)
        assert ignored <= 1
        assert len(series.get("server", "cgroup", "cpu_us")) >= whole[:cut].count(b"\n") - 2


def test_json_is_stable(tmp_path):
    folder = make_run(tmp_path, "thread/1")
    path = folder.path / "trials" / "thread-1" / "record.json"
    first = path.read_text()
    folder.write("trials/thread-1/record.json", json.loads(first))
    assert path.read_text() == first
