"""Exit codes of thresholds, by the real command on stored runs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lab import cli
from lab.common.paths import ROOT
from lab.results import store
from lab.results.record import Sample, TrialRecord
from tests.support import records
from tests.support.records import trial, with_load, with_scenario


def stored(results: Path, made: TrialRecord) -> Path:
    """The run of one trial as it lies on a disk."""
    run = results / "20261123T000000Z-healthy-0000"
    home = run / "trials" / "1"
    home.mkdir(parents=True)
    manifest = records.manifest([made])
    (run / "manifest.json").write_text(store.to_json(manifest))
    (run / "plan.json").write_text(store.to_json(manifest["plan"]))
    (home / "record.json").write_text(store.to_json(made.to_json()))
    series = store.SeriesFile(home / "series.csv")
    series.append(Sample(t, *key, v) for key, points in made.series.points.items() for t, v in points)
    series.close()
    return run


@pytest.mark.parametrize(
    ("conditions", "code"),
    [
        (["p(99)<1s"], 0),
        (["p(99)<1ms"], 99),
        (["p(99.9)<1s"], 5),
        (["p(99.9)<1s", "p(99)<1ms"], 99),
        (["p(99)<1s", "p(99.9)<1s"], 5),
    ],
    ids=["held", "failed", "cannot be told", "failed and cannot be told", "held and cannot be told"],
)
def test_one_that_failed_comes_before_one_that_cannot_be_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], conditions, code
) -> None:
    made = with_scenario(trial(), thresholds={"epoll_lt": {"latency": conditions}})
    assert report(stored(tmp_path, made), monkeypatch) == code, capsys.readouterr().out


def test_a_lower_bound_decides_a_threshold_of_a_stored_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0.8 % of the requests had no answer within 5 s: their p(99.5) is not below 1 s, and maybe below 6 s."""
    lost = records.N * 8 // 1000
    answers = records.hdr(records.RESPONSE, records.N - lost)
    whole = {
        **records.result()["whole"],
        "answered": records.ALL - lost,
        "completed": records.ALL - lost,
        "failed": lost,
    }
    waited = {f"{name}_censored_hdr": records.hdr({5_000_000: 1}, lost) for name in ("response", "service")}
    made = with_load(
        trial(), answered=records.N - lost, failed=lost, whole=whole, response_hdr=answers, **waited,
        locust={"requests": records.ALL, "failures": lost}, service_hdr=answers,
    )  # fmt: skip
    codes = {"p(99.5)<1s": 99, "p(99.5)<6s": 5, "p(99.5)>1s": 0}
    for number, (condition, code) in enumerate(codes.items()):
        asked = with_scenario(made, thresholds={"epoll_lt": {"latency": [condition]}})
        assert report(stored(tmp_path / str(number), asked), monkeypatch) == code, condition


def report(run: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run `lab report`; return its exit code."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["lab", "report", str(run)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)
