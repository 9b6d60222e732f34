"""A damaged file is one finding about one trial, never the end of the run."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.analysis.model import Finding
from lab.analysis.summary import summarise
from lab.analysis.verdict import judge
from lab.common.errors import UsageError
from lab.report import write_all
from lab.results import store
from lab.results.base import describe
from lab.results.manifest import Repeated
from lab.results.merge import merge
from lab.results.record import TrialRecord
from tests.support import records
from tests.support.runfolders import make_run

Change = Callable[[dict[str, Any]], object]


def kept(folder: Path, *trials: TrialRecord) -> Path:
    """A run's folder with these trials."""
    run = store.RunFolder.create(folder, "healthy")
    run.write("manifest.json", records.manifest(trials, run=run.id))
    for trial in trials:
        file = store.SeriesFile(run.trial(trial.key.folder) / "series.csv")
        for (node, source, metric), points in trial.series.points.items():
            file.append(records.Sample(t, node, source, metric, value) for t, value in points)
        file.close()
        run.write(f"trials/{trial.key.folder}/record.json", trial.to_json())
    return run.path


def findings(path: Path) -> list[Finding]:
    """What counts of a run's findings."""
    run = store.read_run(path)
    judged = judge(run, summarise(run))
    return [finding for finding in judged.findings if not finding.expected and finding.level != "ok"]


def link(**counters: Any) -> dict[str, Any]:
    """A link with these counters of one interface."""
    return {"endpoints": ["swarm", "servers"], "backend": "netem", "counters": {"a": counters}}


def torn_histogram(record: dict[str, Any]) -> None:
    """Change some bytes in the middle of the histogram of the whole window."""
    text = record["load"]["result"]["service_hdr"]
    record["load"]["result"]["service_hdr"] = text[:30] + text[30:40].swapcase() + text[40:]


DAMAGE: list[tuple[str, Change, str]] = [
    ("a key of nobody", lambda r: r.update(colour="red"), "colour: Unexpected keyword argument"),
    ("a list for a map", lambda r: r.update(exits=[]), "exits: Input should be a valid dictionary"),
    ("an unknown status", lambda r: r.update(status="fine"), "status: Input should be 'ok' or 'failed'"),
    ("no load's result", lambda r: r["load"].pop("result"), "load.result: Field required"),
    ("text for a count", lambda r: r["load"]["result"].update(sent="3"), "load.result.sent: Input should be"),
    (
        "true for a count",
        lambda r: r["load"]["result"].update(sent=True),
        "load.result.sent: Input should be",
    ),
    ("a window of one end", lambda r: r["load"]["result"].update(window_mono_ms=[1.0]), "load.result.window"),
    (
        "a window that ends before it starts",
        lambda r: r["load"]["result"].update(window_mono_ms=[5, 1]),
        "load.result.window_mono_ms: Value error, it ends at 1, before it starts at 5",
    ),
    (
        "a count below none",
        lambda r: r["load"]["result"].update(sent=-1),
        "load.result.sent: Input should be",
    ),
    ("text for a link's count", lambda r: r.update(links=[link(packets="3")]), "links.0.counters.a.packets"),
    ("true for a link's count", lambda r: r.update(links=[link(held=True)]), "links.0.counters.a.held"),
    ("a link's count below none", lambda r: r.update(links=[link(dropped=-1)]), "links.0.counters.a.dropped"),
    (
        "text for a link's figure",
        lambda r: r.update(links=[link(lateness_us={"p50": "1"})]),
        "lateness_us.p50",
    ),
    (
        "an empty histogram",
        lambda r: r["load"]["seconds"][1].update(response_hdr=""),
        "seconds.1.response_hdr",
    ),
    ("text that is none", lambda r: r["load"]["result"].update(response_hdr="<b>"), "result.response_hdr"),
    (
        "another's base64",
        lambda r: r["load"]["result"].update(service_hdr="A" * 64),
        "its header is of something",
    ),
    ("a torn histogram", torn_histogram, "result.service_hdr: Value error, no histogram: "),
    ("infinity", lambda r: r["load"]["result"].update(late_p99_us=math.inf), "inf is no number of JSON"),
    ("no number at all", lambda r: r["point"].update({"swarm.users": math.nan}), "nan is no number of JSON"),
    ("400 digits", lambda r: r["load"]["result"].update(sent=10**400), "an integer has more than 64 bits"),
    ("half a character", lambda r: r.update(reason="\ud800"), "surrogates not allowed"),
    (
        "half a character in a key",
        lambda r: r.update(exits={"\ud800": {"code": 0}}),
        "surrogates not allowed",
    ),
    ("an unknown phase", lambda r: r["load"]["seconds"][3].update(phase="x"), "load.seconds.3.phase"),
    ("a second's foreign key", lambda r: r["load"]["seconds"][0].update(x=1), "load.seconds.0.x: Extra"),
    ("statistics of no time", lambda r: r["server_stats"][0].pop("mono_ms"), "server_stats.0.mono_ms"),
    ("an id that is none", lambda r: r.update(id="epoll_lt"), "is not the id of a trial"),
    ("a server of no scenario", lambda r: r.update(server="x"), "x is no server of its scenario"),
    ("no scenario", lambda r: r.pop("scenario"), "scenario: Field required"),
    ("another scenario's key", lambda r: r["scenario"]["swarm"].update(x=1), "scenario.swarm: unknown key"),
    ("a model of nobody", lambda r: r["scenario"]["servers"]["epoll_lt"].update(model="x"), "unknown model"),
    ("a version to come", lambda r: r.update(schema_version=9), "schema_version 9"),
    ("no version", lambda r: r.pop("schema_version"), "schema_version None"),
]


@pytest.mark.parametrize(("change", "says"), [row[1:] for row in DAMAGE], ids=[row[0] for row in DAMAGE])
def test_a_record_that_is_none_is_one_finding_about_its_trial(tmp_path, change, says):
    path = kept(tmp_path, records.trial("epoll_lt/1"), records.trial("epoll_lt/2"))
    assert findings(path) == []
    file = path / "trials/epoll_lt-2/record.json"
    data = json.loads(file.read_text())
    change(data)
    file.write_text(json.dumps(data))
    [finding] = findings(path)
    assert (finding.check, finding.level, finding.trial) == ("readable", "unknown", "epoll_lt/2")
    assert says in finding.says
    assert "\n" not in finding.says


TORN = ["", "{", "[]", "null", "3", '{"schema_version": 1, "load": {"result": 3}}', "[" * 100_000]
TORN += [f'{{"schema_version": 2, "point": {"[" * 100 + "]" * 100}}}', '{"exit_code": 1e999}', "\ufeff{}"]


@pytest.mark.parametrize("text", TORN, ids=range(len(TORN)))
def test_a_torn_record_is_too(tmp_path, text):
    path = kept(tmp_path, records.trial("epoll_lt/1"), records.trial("epoll_lt/2"))
    (path / "trials/epoll_lt-2/record.json").write_text(text)
    [finding] = findings(path)
    assert (finding.check, finding.level, finding.trial) == ("readable", "unknown", "epoll_lt/2")


@pytest.mark.parametrize(
    "row",
    ["12.0,server,cg", f"1,server,{'x' * 200_000},cpu_us,1\n", "inf,a,b,c,1", "1,a,b,c,nan"],
    ids=range(4),
)
def test_torn_rows_of_a_series_are_a_doubt_about_their_trial_and_the_rest_counts(tmp_path, row):
    path = kept(tmp_path, records.trial("epoll_lt/1"))
    with (path / "trials/epoll_lt-1/series.csv").open("a") as file:
        file.write(row)
    [finding] = findings(path)
    assert (finding.check, finding.level, finding.trial) == ("readable", "suspect", "epoll_lt/1")
    assert finding.says == "series.csv: 1 damaged row is left out"


def test_reports_are_made_all_the_same(tmp_path):
    path = kept(tmp_path, records.trial("epoll_lt/1"), records.trial("epoll_lt/2"))
    (path / "trials/epoll_lt-2/record.json").write_text("{")
    assert write_all(path).exit_code == 5
    for name in ("report.md", "report.html"):
        assert "its record cannot be read" in (path / name).read_text()


def test_a_damaged_record_stays_one_where_its_run_is_merged(tmp_path):
    runs = [make_run(tmp_path / name, only=["thread"]) for name in "ab"]
    (runs[1] / "trials/thread-1/record.json").write_text("{")
    merged = store.read_run(merge(runs, tmp_path / "results", []))
    assert [trial.id for trial in merged.trials] == ["thread/1"]
    assert [damage.trial for damage in merged.damaged] == ["thread/2"]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "[" * 100_000, '{"run": "\\ud800"}', '{"seed": NaN}', f'{{"seed": {"9" * 400}}}'],
    ids=range(7),
)  # fmt: skip
def test_a_torn_manifest_is_one_error_that_reads_well(tmp_path, text):
    path = kept(tmp_path, records.trial("epoll_lt/1"))
    (path / "manifest.json").write_text(text)
    with pytest.raises(UsageError, match=r"manifest.json cannot be read \([^: ]") as error:
        store.read_run(path)
    assert "\n" not in str(error.value)


def test_an_error_of_the_whole_has_no_name_before_it():
    with pytest.raises(ValueError) as error:
        Repeated.model_validate([])
    assert describe(error.value).startswith("Input should be")
