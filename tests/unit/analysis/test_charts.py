"""Chart data: the numbers that are drawn, against ones computed another way."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy
import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st

from lab.analysis.charts import (
    charts,
    events,
    per_second,
    percentile_curve,
    supported_nines,
    trials_of,
    typical,
)
from lab.analysis.growth import position
from lab.analysis.histogram import DIGITS, HIGHEST_US, LOWEST_US, Outcomes
from lab.report.content.sweeps import sweep
from lab.results.load import LoadResult
from lab.results.record import TrialRecord
from tests.support import judged, make_golden
from tests.support.records import hdr


def answered(values_us: list[int], without: int = 0) -> Outcomes:
    """Answers at these times, and so many requests without one."""
    made = HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS)
    for value in values_us:
        made.record_value(value)
    return Outcomes.of([str(made.encode().decode("ascii"))], [], without)


def test_percentile_curve_is_that_of_the_samples() -> None:
    values = [int(v) for v in numpy.random.default_rng(7).lognormal(8, 1, 50_000)]
    curve = percentile_curve(answered(values))
    for nines, ms in curve:
        expected = numpy.quantile(values, 1 - 10**-nines, method="inverted_cdf") / 1000
        assert ms == pytest.approx(expected, rel=2e-3)
    assert curve[-1][0] == pytest.approx(math.log10(500), abs=0.05)


@pytest.mark.parametrize(
    ("samples", "percent"),
    [
        (0, None),
        (19, None),
        (20, 50.0),
        (199, 50.0),
        (200, 90.0),
        (2_000, 95.0),
        (10_000, 99.0),
        (1_000_000, 99.99),
    ],
)
def test_a_curve_ends_where_samples_do_not_support_it(samples: int, percent: float | None) -> None:
    nines = supported_nines(samples)
    assert (nines and 100 * (1 - 10**-nines)) == (percent and pytest.approx(percent))


def test_too_few_samples_have_no_curve() -> None:
    assert percentile_curve(answered([1000] * 19)) == []


def test_a_curve_ends_where_requests_had_no_answer() -> None:
    curve = percentile_curve(answered([1000] * 9_000, without=1_000))
    assert curve[-1] == (1.0, pytest.approx(1.0, rel=1e-3))
    assert percentile_curve(answered([1000] * 100, without=9_900)) == []


def test_every_server_has_its_lines_and_one_curve_per_trial() -> None:
    run, summary = judged.golden()
    data = charts(run, summary)
    assert [server["label"] for server in data["servers"]] == list(summary.servers)
    assert [line["label"] for line in data["timelines"]] == [n for n in summary.servers if n != "crash"]
    assert sorted(curve["trial"] for curve in data["percentiles"]) == sorted(
        trial.id for trial in run.trials if trial.load is not None and trial.server != "select"
    ), "nine of ten requests to select had no answer: no percentile of the chart is known"


def test_the_typical_trial_has_the_median_p99() -> None:
    run, _ = judged.golden()
    shown = typical(run, "thread")
    assert shown is not None
    assert shown.id in ("thread/1", "thread/2")
    assert typical(run, "crash") is None
    assert len(trials_of(run, "thread")) == 2


def the_load(users: int = 100) -> LoadResult:
    load = make_golden.trial(
        "epoll_lt", "epoll_lt/1", 1, make_golden.SHAPES["epoll_lt"], {"swarm.users": users}
    ).load
    assert load is not None
    return load


def test_seconds_are_placed_from_the_start_of_the_window() -> None:
    load = the_load()
    steps = list(per_second(load, "p90", 240))
    assert [step["t"] for step in steps] == [k + 0.5 - make_golden.WARMUP_S for k in range(10)]
    assert [step["completed"] for step in steps] == [second.done for second in load.seconds]
    assert all(step["p50"] < step["upper"] < step["max"] for step in steps)


def test_an_answer_is_drawn_where_it_came_and_of_an_earlier_version_where_it_was_meant() -> None:
    load = the_load()
    late = [second.replaced(completed=7) for second in load.seconds]
    assert {step["completed"] for step in per_second(replace(load, seconds=tuple(late)), "p90", 240)} == {7.0}
    old = [second.replaced(completed=None) for second in load.seconds]
    steps = list(per_second(replace(load, seconds=tuple(old)), "p90", 240))
    assert [step["completed"] for step in steps] == [second.answered for second in load.seconds]


def test_a_warm_up_that_ends_within_a_second_cuts_it() -> None:
    load = the_load()
    shift_ms = 500.0
    phases = load.phases.replaced(warmup=load.phases.measure - 1000 - shift_ms)
    first, second, third = load.seconds[:3]
    cut = (
        first.replaced(k=0, phase="warmup", intended=100),
        second.replaced(k=1, phase="warmup", intended=50),
        third.replaced(k=1, phase="measure", intended=50),
    )
    steps = list(per_second(replace(load, phases=phases, seconds=cut), "p90", 240))
    assert [(step["t"], step["intended"]) for step in steps] == [(-1.0, 100.0), (-0.25, 100.0), (0.25, 100.0)]


def test_longer_steps_keep_rates_and_merge_histograms() -> None:
    load = the_load()
    fine, coarse = list(per_second(load, "p90", 240)), list(per_second(load, "p90", 5))
    assert len(coarse) == 5
    assert coarse[0]["completed"] == pytest.approx(
        (fine[0]["completed"] + fine[1]["completed"]) / 2, abs=0.06
    )
    assert coarse[0]["max"] == max(fine[0]["max"], fine[1]["max"])
    assert min(fine[0]["p50"], fine[1]["p50"]) <= coarse[0]["p50"] <= max(fine[0]["p50"], fine[1]["p50"])


def test_a_second_with_few_answers_has_no_quantile() -> None:
    load = the_load()
    few = load.seconds[3].replaced(response_hdr=hdr({1000: 1}, 5))
    step = next(per_second(replace(load, seconds=(few,)), "p90", 240))
    assert (step["p50"], step["upper"], step["max"]) == (None, None, 1.0)


def test_cpu_and_memory_are_those_of_the_record() -> None:
    run, summary = judged.golden()
    line = next(line for line in charts(run, summary)["timelines"] if line["label"] == "epoll_lt")
    measured = [busy for t, busy in line["cpu"] if 0.5 <= t <= 7.5]
    shape = make_golden.SHAPES["epoll_lt"]
    assert measured == pytest.approx([make_golden.RATE_PER_S * shape.cpu_us / 1e6] * 8, rel=0.02)
    held = line["memory"][-1][1]
    assert held == pytest.approx(21e6 + make_golden.USERS * shape.memory_per_connection, rel=0.02)


def test_events_hold_phases_first_errors_and_the_scenario_s_own() -> None:
    trial = make_golden.trial("blocking", "blocking/1", 1, make_golden.SHAPES["blocking"], {})
    assert trial.load is not None
    start_ms = trial.load.window_ms[0]
    done = {"what": "pause", "target": "server", "wanted_mono_ms": start_ms + 3000, "error": None}
    late = {**done, "actual_mono_ms": start_ms + 3012}
    refused = {**done, "what": "limit", "actual_mono_ms": None, "error": "no cgroup"}
    told = list(events(replace(trial, events=(late, refused))))
    assert [e["says"] for e in told if e["kind"] == "phase"] == [
        "spawn",
        "warmup",
        "measure",
        "drain",
        "done",
    ]
    assert {"t": 3.012, "kind": "event", "says": "pause server"} in told
    assert {"t": 3.0, "kind": "event", "says": "limit server failed"} in told
    assert {"t": 0.012, "kind": "error", "says": "first timeout"} in told


def test_a_trial_without_series_draws_what_it_has() -> None:
    run, summary = judged.golden()
    bare = tuple(TrialRecord.from_json(trial.to_json(), type(trial.series)()) for trial in run.trials)
    data = charts(replace(run, trials=bare), summary)
    assert all(line["cpu"] == [] and line["memory"] == [] for line in data["timelines"])
    assert all(line["seconds"] for line in data["timelines"])


def test_a_run_without_measurements_has_no_lines() -> None:
    data = charts(*judged.failed())
    assert (data["percentiles"], data["timelines"]) == ([], [])


def test_a_sweep_has_a_row_per_server_and_value() -> None:
    _, summary = judged.sweep()
    data = sweep(summary)
    assert data is not None
    assert (data["path"], data["numeric"], len(data["rows"])) == ("swarm.users", True, 12)
    grown = [row["cpu_us_per_request"] for row in data["rows"] if row["label"] == "select"]
    assert grown == sorted(grown)
    assert sweep(judged.golden()[1]) is None


@pytest.mark.parametrize(
    ("value", "place"),
    [(100, 100.0), ("40ms", 0.04), ("1.5s", 1.5), ("1%", 0.01), ("64KiB", 65536.0), ("10mbit", 1e7),
     ("2000/s", 2000.0),
     ("epoll_lt", None), (True, None), (None, None), ("", None), ("5 parsecs", None)],
)  # fmt: skip
def test_positions_of_swept_values(value: object, place: float | None) -> None:
    assert position(value) == (place if place is None else pytest.approx(place))


@given(st.integers(0, 10**9))
def test_whole_numbers_stand_where_they_say(value: int) -> None:
    assert position(value) == position(str(value)) == float(value)
