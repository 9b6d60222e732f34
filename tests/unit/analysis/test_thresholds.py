"""Thresholds: k6's grammar, and what holds."""

import re
from typing import Any

import pytest

from lab.results.record import TrialRecord
from lab.scenario.threshold import parse, read
from tests.support import records
from tests.support.records import N, hdr, judged, trial, with_load, with_scenario


def gated(t: TrialRecord, **thresholds: list[Any]) -> TrialRecord:
    return with_scenario(t, thresholds={"epoll_lt": thresholds})


def test_thresholds_that_hold():
    asked = gated(
        trial(), latency=["p(99)<2ms", "med<=1.1ms"], errors=["rate<0.1%"], connections=["value>=1000"]
    )
    summary = judged(asked)
    assert [row.ok for row in summary.thresholds] == [True] * 4
    assert summary.thresholds[0].value == pytest.approx(1.2, rel=1e-3)
    assert summary.exit_code == 0


@pytest.mark.parametrize(
    ("metric", "text", "told"),
    [
        ("latency", "p(99)<1ms", True),
        ("latency", "p(99.9)<100ms", False),
        ("cpu_us_per_request", "value<99us", True),
        ("requests_per_s", "value>2500/s", True),
        ("signals_per_request", "value<5000", False),  # epoll_lt takes none
    ],
    ids=["not held", "too few samples", "too dear", "too slow", "no data"],
)
def test_a_threshold_that_does_not_hold_fails_and_one_that_cannot_be_told_is_inconclusive(metric, text, told):
    summary = judged(gated(trial(), **{metric: [text]}))
    assert (summary.verdict, summary.exit_code) == (("FAIL", 99) if told else ("INCONCLUSIVE", 5))
    assert [(row.ok, row.told) for row in summary.thresholds] == [(False, told)]


def test_a_threshold_must_hold_in_every_valid_trial():
    times_ = {"response_hdr": hdr({1500: 1}, N), "service_hdr": hdr({1500: 1}, N)}
    seconds = [records.second(k, {1500: 1}) for k in range(12)]
    slow = with_load(trial("epoll_lt/2"), seconds=seconds, **times_)
    both = [gated(t, latency=["p(50)<1.2ms"]) for t in (trial("epoll_lt/1"), slow)]
    row = judged(*both).thresholds[0]
    assert (row.ok, row.failed, row.trial) == (False, 1, "epoll_lt/2")
    invalid = with_load(both[1], connected_peak=500)
    row = judged(both[0], invalid).thresholds[0]
    assert (row.ok, row.valid_trials) == (True, 1)


def test_a_record_with_a_threshold_that_is_unknown_today_is_refused():
    with pytest.raises(ValueError, match="write it like"):
        gated(trial(), latency=["p99<1ms"])


@pytest.mark.parametrize(
    ("metric", "text", "bound"),
    [
        ("latency", "p(99)<100ms", 100),
        ("latency", " avg <= 1.5s ", 1500),
        ("service", "max<2ms", 2),
        ("latency", "count>100", 100),
        ("errors", "rate<0.1%", 0.001),
        ("errors", "count==0", 0),
        ("cpu_us_per_request", "value<20us", 20),
        ("requests_per_s", "value>=1000/s", 1000),
        ("memory_bytes_per_connection", "value<64KiB", 65536),
        ("connections", "value>=10000", 10_000),
    ],
)
def test_the_grammar_reads_units(metric, text, bound):
    threshold = parse(metric, text)
    assert threshold.bound == pytest.approx(bound)
    assert threshold.text == text.strip()


@pytest.mark.parametrize(
    ("metric", "text", "says"),
    [
        ("latencyy", "p(99)<100ms", "did you mean latency"),
        ("latency", "p99<100ms", "write it like 'p(99)<100ms'"),
        ("latency", "p(99)<100", "has no unit"),
        ("latency", "p(101)<100ms", "between 0 and 100"),
        ("latency", "p(x)<100ms", "between 0 and 100"),
        ("latency", "rate<1%", "unknown aggregate rate; latency has p(N), avg, med, min, max, count"),
        ("errors", "rate<1ms", "percentage"),
        ("errors", "count<3ms", "without a unit"),
        ("connections", "p(99)<3", "unknown aggregate p(N); connections has value"),
        ("latency", "", "is not a threshold"),
    ],
)
def test_a_wrong_threshold_says_what_would_be_right(metric, text, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        parse(metric, text)


def test_a_threshold_may_abort():
    assert read("latency", {"threshold": "p(50)<1ms", "abort_on_fail": True}).abort_on_fail
    assert not read("latency", "p(50)<1ms").abort_on_fail
