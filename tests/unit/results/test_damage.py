"""A damaged file is one finding about one trial, never the end of the run."""

from __future__ import annotations

import base64
import json
import math
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hdrh.histogram import HdrHistogram

from lab.analysis.model import Finding
from lab.analysis.summary import summarise
from lab.analysis.verdict import judge
from lab.common.errors import UsageError
from lab.report import write_all
from lab.results import store
from lab.results.base import describe
from lab.results.hdr import slots
from lab.results.manifest import Repeated
from lab.results.merge import merge
from tests.support import records
from tests.support.runfolders import kept, make_run

Change = Callable[[dict[str, Any]], object]


def findings(path: Path) -> list[Finding]:
    """What counts of a run's findings."""
    run = store.read_run(path)
    judged = judge(run, summarise(run))
    return [finding for finding in judged.findings if not finding.expected and finding.level != "ok"]


def link(**counters: Any) -> dict[str, Any]:
    """A link with these counters of one interface."""
    return {"endpoints": ["swarm", "servers"], "backend": "netem", "counters": {"a": counters}}


def compressed(stream: bytes, cookie: int = 0x1C849304) -> str:
    """The text of a histogram with this stream, whatever it holds."""
    packed = zlib.compress(stream)
    return base64.b64encode(struct.pack(">II", cookie, len(packed)) + packed).decode()


def counts(body: bytes, digits: int = 3, longer: int = 0) -> str:
    """The text of a histogram with these encoded counts."""
    head = struct.pack(">IIIIQQd", 0x1C849313, len(body) + longer, 0, digits, 1, 600_000_000, 1.0)
    return compressed(head + body)


def asked(**values: Any) -> dict[str, Any]:
    """A link with these requested."""
    return {"endpoints": ["swarm", "servers"], "backend": "netem", "requested": values}


def torn_histogram(record: dict[str, Any]) -> None:
    """Change some bytes in the middle of the histogram of the whole window."""
    text = record["load"]["result"]["service_hdr"]
    record["load"]["result"]["service_hdr"] = text[:30] + text[30:40].swapcase() + text[40:]


def change_record(path: Path, change: Change) -> None:
    """Change the record of the run's second trial."""
    file = path / "trials/epoll_lt-2/record.json"
    data = json.loads(file.read_text())
    change(data)
    file.write_text(json.dumps(data))


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
        "load.result.window_mono_ms: Value error, it ends at 1, not after its start at 5",
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
    ("a flipped bit of lateness", lambda r: r["load"]["result"].update(lateness_hdr="HISTF"), "lateness_hdr"),
    (
        "a figure that nothing measures",
        lambda r: r["load"]["result"].update(window_mono_ms=[-1e308, 1e308]),
        "load.result.window_mono_ms.0: Value error, -1e+308 is out of range",
    ),
    (
        "a quotient's infinity",
        lambda r: r["calibration"].update(ceiling_per_s=5e-324),
        "calibration.ceiling_per_s: Value error, 4.94066e-324 is out of range",
    ),
    ("a window of no time", lambda r: r["load"]["result"].update(window_mono_ms=[5, 5]), "it ends at 5, not"),
    ("another repeat", lambda r: r.update(repeat=7), "epoll_lt/2 is not the id of epoll_lt, repeat 7"),
    ("a repeat below none", lambda r: r.update(repeat=-1), "repeat: Input should be"),
    ("text for a repeat", lambda r: r.update(repeat="2"), "repeat: Input should be a valid integer"),
    ("true for a repeat", lambda r: r.update(repeat=True), "repeat: Input should be a valid integer"),
    ("another's id", lambda r: r.update(id="nobody/9"), "nobody/9 is not the id of epoll_lt"),
    (
        "the id of another trial",
        lambda r: r.update(id="epoll_lt/1", repeat=1),
        "holds a record of epoll_lt/1",
    ),
    ("another sweep point", lambda r: r.update(point={"swarm.users": 3}), "another sweep point"),
    ("text for an exit code", lambda r: r["exits"]["server"].update(code="0"), "exits.server.code: Input"),
    ("text for a flag", lambda r: r["exits"]["server"].update(oom="no"), "exits.server.oom: Input should be"),
    ("text for an answer", lambda r: r["verify"][0].update(ok="yes"), "verify.0.ok: Input should be"),
    ("text for the lab's exit code", lambda r: r.update(exit_code="0"), "exit_code: Input should be"),
    ("1 for a flag", lambda r: r["placement"].update(overlap=1), "placement.overlap: Input should be"),
    (
        "a CPU list that is none",
        lambda r: r["placement"].update(swarm="x"),
        "placement.swarm: Value error, 'x'",
    ),
    ("more CPUs than there are", lambda r: r["placement"].update(swarm="0-999999999"), "placement.swarm"),
    ("CPUs that a node never had", lambda r: r["cpu_sets"][0].update(group="1-0"), "cpu_sets.0.group"),
    ("text for a delay", lambda r: r.update(links=[asked(delay_ms="20")]), "requested"),
    ("a share above all", lambda r: r.update(links=[asked(loss=1.5)]), "loss: 1.5 is out of range"),
    ("a delay below none", lambda r: r.update(links=[asked(delay_ms=-1)]), "delay_ms: -1 is out of range"),
    ("true for a version", lambda r: r.update(schema_version=True), "schema_version True"),
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
    change_record(path, change)
    [finding] = findings(path)
    assert (finding.check, finding.level, finding.trial) == ("readable", "unknown", "epoll_lt/2")
    assert says in finding.says
    assert "\n" not in finding.says


# A whole stream with a right checksum, whatever it holds: of other settings, cut off, too long, too much.
NO_HISTOGRAM = {
    "bytes": compressed(b"garbage!" * 4),
    "many bytes": compressed(b"\0" * 1_000_000),
    "nothing": compressed(b""),
    "two digits": counts(b"\2", digits=2),
    "a wrong length": counts(b"\2", longer=1),
    "a count cut off": counts(b"\x80"),
    "slots of no time": counts(b"\2" * 30_000),
    "a run of slots without end": counts(b"\xff" * 9),
    "more samples than a counter holds": counts((b"\xfe" + b"\xff" * 8) * 2),
    "a length of another": base64.b64encode(struct.pack(">II", 0x1C849304, 9)).decode(),
    "another cookie": compressed(b"\0" * 40, cookie=0x1C849305),
}


@pytest.mark.parametrize("field", ["response_hdr", "connect_ms_hdr", "lateness_hdr"])
@pytest.mark.parametrize("text", NO_HISTOGRAM.values(), ids=NO_HISTOGRAM)
def test_a_histogram_that_cannot_be_decoded_is_damage(tmp_path, text, field):
    path = kept(tmp_path, records.trial("epoll_lt/1"), records.trial("epoll_lt/2"))
    change_record(path, lambda r: r["load"]["result"].update({field: text}))
    [finding] = findings(path)
    assert (finding.check, finding.level, finding.trial) == ("readable", "unknown", "epoll_lt/2")
    assert f"load.result.{field}: Value error, no histogram" in finding.says


def test_a_histogram_is_decoded_as_its_library_does():
    text = records.hdr({0: 1, 1: 5, 2047: 2, 2048: 300, 600_000_000: 1}, 309_000)
    library = HdrHistogram.decode(text)
    numbers, seen = slots(text)
    assert {n: library.get_count_at_index(n) for n in numbers} == dict(zip(numbers, seen, strict=True))
    assert sum(seen) == library.get_total_count()


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
    [
        "12.0,server,cg",
        f"1,server,{'x' * 200_000},cpu_us,1\n",
        "inf,a,b,c,1",
        "1,a,b,c,nan",
        "1,a,b,c,-1e308",
    ],
    ids=range(5),
)
def test_torn_rows_of_a_series_are_a_doubt_about_their_trial_and_the_rest_counts(tmp_path, row):
    path = kept(tmp_path, records.trial("epoll_lt/1"))
    with (path / "trials/epoll_lt-1/series.csv").open("a") as file:
        file.write(row)
    [finding] = findings(path)
    assert (finding.check, finding.level, finding.trial) == ("readable", "suspect", "epoll_lt/1")
    assert finding.says == "series.csv: 1 damaged row is left out"


def test_a_series_without_its_header_keeps_its_first_sample(tmp_path):
    path = kept(tmp_path, records.trial("epoll_lt/1"))
    whole = store.read_run(path).trials[0].series
    file = path / "trials/epoll_lt-1/series.csv"
    file.write_text(file.read_text().split("\n", 1)[1])
    assert store.read_run(path).trials[0].series == whole
    [finding] = findings(path)
    assert (finding.level, finding.says) == ("suspect", "series.csv: its header is missing")


@pytest.mark.parametrize("name", ["series.csv", "record.json"])
def test_a_folder_for_a_file_is_named_within_the_run(tmp_path, name):
    path = kept(tmp_path, records.trial("epoll_lt/1"), records.trial("epoll_lt/2"))
    file = path / "trials/epoll_lt-2" / name
    file.unlink()
    file.mkdir()
    [finding] = findings(path)
    assert finding.trial == "epoll_lt/2"
    assert finding.says.endswith(f"left out: trials/epoll_lt-2/{name}: Is a directory")


def test_a_copied_folder_counts_once(tmp_path):
    path = kept(tmp_path, records.trial("epoll_lt/1"), records.trial("epoll_lt/2"))
    shutil.copytree(path / "trials/epoll_lt-1", path / "trials/epoll_lt-1.bak")
    assert [trial.id for trial in store.read_run(path).trials] == ["epoll_lt/1", "epoll_lt/2"]
    [finding] = findings(path)
    assert (finding.check, finding.level, finding.trial) == ("readable", "unknown", "epoll_lt-1.bak")
    assert "the folder epoll_lt-1.bak holds a record of epoll_lt/1" in finding.says
    assert write_all(path).verdict != "PASS"


def test_a_trial_that_was_never_planned_is_left_out(tmp_path):
    path = kept(tmp_path, records.trial("epoll_lt/1"))
    others = kept(tmp_path, records.trial("epoll_lt/9"))
    shutil.copytree(others / "trials/epoll_lt-9", path / "trials/epoll_lt-9")
    [finding] = findings(path)
    assert (finding.check, finding.trial) == ("readable", "epoll_lt/9")
    assert finding.says.endswith("epoll_lt/9 is no trial of the plan")


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
