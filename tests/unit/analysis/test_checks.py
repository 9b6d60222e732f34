"""Each check fires on its fault and is silent on a healthy trial."""

# ruff: noqa: E501  (tables are easier to read in one line a row)

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from lab.analysis import checks
from lab.analysis.checks.limits import LIMITS, Limit
from lab.analysis.checks.trial_view import graded
from lab.analysis.model import Finding
from lab.report.content.findings import groups
from lab.results.record import TrialRecord
from tests.support import records
from tests.support.records import (
    ALL,
    RESPONSE,
    WINDOW_MS,
    N,
    counted,
    counter,
    failing,
    hdr,
    judged,
    second,
    series,
    trial,
    verified,
    with_load,
    with_swarm,
)


def test_a_healthy_trial_passes_and_every_check_was_asked():
    summary = judged(trial())
    assert [f for f in summary.findings if f.level != "ok"] == []
    assert (summary.verdict, summary.exit_code) == ("PASS", 0)
    linked = {name for name in checks.REQUIRED if name.startswith(("link_", "delayline", "event_"))}
    assert set(checks.REQUIRED) - set(summary.checks) == linked
    assert all(set(levels) == {"ok"} for levels in summary.checks.values())


NODES = ("server", "master", "worker-0", "worker-1")


def slow(*ks: int) -> list[dict[str, Any]]:
    return [second(k, {2000: 1} if k in ks else RESPONSE) for k in range(12)]


def busy(cores: float, *ks: int) -> list[dict[str, Any]]:
    return [second(k, cpu_cores=[cores, 0.1] if k in ks else [0.2, 0.2]) for k in range(12)]


def host(**per_s: float) -> dict[tuple[str, str, str], Any]:
    return {("host", "host", name): counter(1, rate) for name, rate in per_s.items()}


def waited(us_per_s: float) -> dict[tuple[str, str, str], Any]:
    return {("worker-0", "schedstat", "waited_us/43"): counter(1, us_per_s)}


def server(**per_s: float) -> dict[tuple[str, str, str], Any]:
    return {("server", "cgroup", name): counter(1, rate) for name, rate in per_s.items()}


def whole(**changes: Any) -> dict[str, Any]:
    return {**records.result()["whole"], **changes}


def limited(t: TrialRecord, throttled_per_s: float, group: str = "") -> TrialRecord:
    return sampled(t, server(**{f"cpu_periods{group}": 10, f"cpu_throttled{group}": throttled_per_s}))


def sampled(t: TrialRecord, changes: dict[tuple[str, str, str], Any]) -> TrialRecord:
    return replace(t, series=series(changes))


def erring(t: TrialRecord, **kinds: int) -> TrialRecord:
    return with_load(t, errors={kind: {"count": number} for kind, number in kinds.items()})


def asked(t: TrialRecord, *verify: dict[str, Any]) -> TrialRecord:
    return replace(t, verify=verify)


def ceiling(t: TrialRecord, per_s: float) -> TrialRecord:
    return replace(t, calibration={"ceiling_per_s": per_s})


def test_a_ceiling_that_is_not_known_is_said_and_does_not_count():
    for known, says in (
        ({"why_not": "a worker was lost"}, "a worker was lost"),
        ({}, "the maximum rate of this swarm was not recorded"),
    ):
        summary = judged(replace(trial(), calibration=known))
        [finding] = summary.findings
        assert (finding.check, finding.level) == ("generator_ceiling", "unknown")
        assert says in finding.says
        assert summary.verdict == "PASS"


def worker_quota(t: TrialRecord, throttled_per_s: float) -> TrialRecord:
    """One of two workers has a CPU quota, of ten periods a second."""
    rates = {"cpu_periods": 10, "cpu_throttled": throttled_per_s}
    changes = {("worker-1", "cgroup", name): counter(0, rate) for name, rate in rates.items()}
    return replace(t, series=series(changes))


def throttled(t: TrialRecord, budget_s: float) -> TrialRecord:
    """An engine that wants all of its CPU runs until its budget is used up, and waits for the next period."""
    rates = {"ran_us": budget_s * 1e6, "waited_us": (1 - budget_s) * 1e6}
    changes = {("worker-0", "realtime", f"{name}/41"): counter(0, rate) for name, rate in rates.items()}
    budgets = [(time, budget_s * 1e6) for time, _ in counter(0, 0)]
    return replace(t, series=series(changes | {("worker-0", "realtime", "budget_us/41"): budgets}))


def lasting(t: TrialRecord, ms: float) -> TrialRecord:
    return with_load(t, window_mono_ms=[WINDOW_MS[0], WINDOW_MS[0] + ms])


def connected(t: TrialRecord, peak: int) -> TrialRecord:
    return with_load(t, connected_peak=peak)


def answers(t: TrialRecord, samples: int) -> TrialRecord:
    return with_load(t, response_hdr=hdr(RESPONSE, samples))


def late(t: TrialRecord, us: int) -> TrialRecord:
    sends = hdr({10: 95, us: 5}, N)
    return with_load(t, lateness_hdr=sends, lateness_generator_hdr=sends)


def placed(t: TrialRecord, server_cpus: str, swarm_cpus: str) -> TrialRecord:
    return replace(t, placement={"server": server_cpus, "swarm": swarm_cpus, "overlap": False})


def silenced(t: TrialRecord) -> TrialRecord:
    return replace(t, server_stats=records.stats()[:1])


AREA_S = N * 1.098e-3


def without_second(k: int) -> list[dict[str, Any]]:
    return [second(each) for each in range(12) if each != k]


def off_by(t: TrialRecord, off: int) -> TrialRecord:
    return replace(t, server_stats=records.stats(N + off))


def stalled(t: TrialRecord, *ks: int) -> TrialRecord:
    seconds = [second(k, lost_s=[0.0, 0.15 if k in ks else 0.0]) for k in range(12)]
    return with_load(t, seconds=seconds)


Spoil = Callable[[TrialRecord], TrialRecord]
FAULTS: list[tuple[str, str, str, Spoil]] = [
    ("a lost arrival in 50", "offered_load", "suspect", lambda t: with_load(t, sent=N * 98 // 100)),
    ("a lost arrival in 10", "offered_load", "invalid", lambda t: with_load(t, sent=N * 90 // 100)),
    ("users without a connection", "connections_reached", "suspect", lambda t: connected(t, 985)),
    ("a worker under a quota", "generator_throttled", "suspect", lambda t: worker_quota(t, 0.5)),
    ("a worker held back by its quota", "generator_throttled", "invalid", lambda t: worker_quota(t, 8)),
    ("an engine held back by its budget", "real_time_throttled", "invalid", lambda t: throttled(t, 0.2)),
    ("many without a connection", "connections_reached", "invalid", lambda t: connected(t, 900)),
    ("late sends", "lateness", "suspect", lambda t: late(t, 2000)),
    ("very late sends", "lateness", "invalid", lambda t: late(t, 9000)),
    ("waiting to be sent", "omission", "suspect", lambda t: with_load(t, service_hdr=hdr({500: 1}, N))),
    ("books that disagree", "little_law", "suspect", lambda t: with_load(t, in_flight_area_s=AREA_S * 1.03)),
    ("books far apart", "little_law", "invalid", lambda t: with_load(t, in_flight_area_s=AREA_S * 0.9)),
    ("a lost second", "seconds", "invalid", lambda t: with_load(t, seconds=without_second(7))),
    ("a server that lost some", "server_window", "suspect", lambda t: off_by(t, -200)),
    ("others in the window", "server_window", "invalid", lambda t: off_by(t, 500)),
    ("an engine that stood still", "generator_stalls", "suspect", lambda t: stalled(t, 4, 5)),
    ("an engine stopped", "generator_stalls", "invalid", lambda t: stalled(t, 3, 4, 5, 6)),
    ("an answer of no second", "outcomes", "invalid", lambda t: with_load(t, whole=whole(completed=ALL - 1))),
    ("a request without outcome", "outcomes", "invalid", lambda t: with_load(t, answered=N - 1)),
    ("a lost arrival", "outcomes", "invalid", lambda t: with_load(t, whole=whole(intended=ALL + 1))),
    ("a server that lost count", "server_count", "suspect", lambda t: recount(t, -3)),
    ("a server that lost much", "server_count", "invalid", lambda t: recount(t, -300)),
    ("a server asked by others", "server_count", "invalid", lambda t: recount(t, 300)),
    ("Locust that lost count", "locust_count", "suspect", lambda t: with_load(t, locust=locust(-100))),
    ("Locust that lost much", "locust_count", "invalid", lambda t: with_load(t, locust=locust(-1000))),
    ("a few errors", "errors", "suspect", lambda t: failing(t, 60)),
    ("many errors", "errors", "invalid", lambda t: failing(t, 600)),
    ("refused connections", "errors", "invalid", lambda t: erring(t, connect_refused=100)),
    ("a drift", "steady", "invalid", lambda t: with_load(t, seconds=slow(7, 8, 9, 10, 11))),
    ("a short window's samples", "tail_support", "suspect", lambda t: answers(t, 1500)),
    ("hardly any samples", "tail_support", "invalid", lambda t: answers(t, 100)),
    ("a short window", "tail_support", "invalid", lambda t: lasting(t, 1000)),
    ("a busy worker", "generator_cpu", "suspect", lambda t: with_load(t, seconds=busy(0.8, 4, 5))),
    ("a throttled worker", "generator_cpu", "invalid", lambda t: with_load(t, seconds=busy(0.95, 4, 5))),
    ("a lagging loop", "loop_lag", "suspect", lambda t: with_load(t, workers=lagging(7000))),
    ("a stuck loop", "loop_lag", "invalid", lambda t: with_load(t, workers=lagging(30_000))),
    ("near the swarm's ceiling", "generator_ceiling", "suspect", lambda t: ceiling(t, 2300)),
    ("at the swarm's ceiling", "generator_ceiling", "invalid", lambda t: ceiling(t, 2010)),
    ("ports that ran out", "client_exhausted", "invalid", lambda t: erring(t, ports_exhausted=1)),
    ("descriptors that ran out", "client_exhausted", "invalid", lambda t: erring(t, emfile=2)),
    ("a full CPU", "cpu_full", "limit", lambda t: sampled(t, server(cpu_us=9.7e5))),
    ("a throttled server", "throttled", "suspect", lambda t: limited(t, 0.5)),
    ("a strangled server", "throttled", "invalid", lambda t: limited(t, 5)),
    ("a quota above the server", "throttled", "invalid", lambda t: limited(t, 5, "/docker")),
    ("an OOM kill", "oom", "invalid", lambda t: sampled(t, server(oom_kills=0.1))),
    ("a swapping host", "swap", "invalid", lambda t: sampled(t, host(pswpout=100))),
    ("the wrong model", "model_profile", "invalid", lambda t: calls(t, poll=2000, epoll_wait=None)),
    ("a model that cheats", "model_profile", "invalid", lambda t: calls(t, poll=2000)),
    ("wrong answers before", "right_answers", "invalid", lambda t: asked(t, verified("before", False))),
    ("wrong answers under load", "right_answers", "invalid", lambda t: erring(t, wrong_answer=1)),
    ("answers not verified again", "right_answers", "suspect", lambda t: asked(t, verified("before"))),
    ("a full queue", "kernel_counters", "suspect", lambda t: sampled(t, overflows("listen_overflows"))),
    ("retransmissions", "kernel_counters", "suspect", lambda t: sampled(t, overflows("retransmits"))),
    ("packets dropped", "kernel_counters", "suspect", lambda t: sampled(t, host(softnet_dropped=1))),
    ("some steal", "host_quiet", "suspect", lambda t: sampled(t, host(cpu0_steal_us=3e4))),
    ("much steal", "host_quiet", "invalid", lambda t: sampled(t, host(cpu1_steal_us=3e5))),
    ("others on the server's CPU", "host_quiet", "suspect", lambda t: sampled(t, host(cpu0_idle_us=6e5))),
    ("much on the swarm's CPU", "host_quiet", "invalid", lambda t: sampled(t, host(cpu1_idle_us=1e5))),
    ("an engine that waited", "run_delay", "suspect", lambda t: sampled(t, waited(3.5e5))),
    ("an engine that waited long", "run_delay", "invalid", lambda t: sampled(t, waited(6e5))),
    ("one CPU for all", "placement", "suspect", lambda t: placed(t, "0-1", "1")),
    ("a server that was moved", "cpu_sets", "invalid", lambda t: moved(t, processes="0,1")),
    ("a control group that was widened", "cpu_sets", "invalid", lambda t: moved(t, group="0-1")),
    ("a step of the clock", "clocks", "suspect", lambda t: sampled(t, clock("realtime_ms", -2000))),
    ("a machine that slept", "clocks", "invalid", lambda t: sampled(t, clock("boottime_ms", 60_000))),
    ("a gap in the samples", "sampling", "suspect", lambda t: sampled(t, gap(1.8))),
    ("a long gap in the samples", "sampling", "invalid", lambda t: sampled(t, gap(3))),
    ("a sampler that stood still", "sampler_stalls", "suspect", lambda t: sampled(t, overdue(250, 5))),
    ("costly sampling", "sampling", "suspect", lambda t: sampled(t, costly())),
    ("a collector that failed", "sampling", "suspect", lambda t: replace(t, warnings=("cgroup: gone",))),
    ("plain processes", "isolation", "suspect", lambda t: replace(t, stamps=("not isolated",))),
    ("a server that would not stop", "server_stopped", "suspect", lambda t: ended(t, 137, "SIGKILL")),
    ("a server killed", "server_died", "fail", lambda t: silenced(ended(t, 137, "SIGKILL"))),
]  # fmt: skip


def recount(t: TrialRecord, off: int) -> TrialRecord:
    last = t.server_stats[-1]
    assert last.requests is not None
    last = last.replaced(requests=last.requests + off)
    return replace(t, server_stats=(*t.server_stats[:-1], last))


def locust(off: int) -> dict[str, int]:
    return {"requests": ALL + off, "failures": 0}


def lagging(us: int) -> list[dict[str, Any]]:
    return [records.worker(0, 300), records.worker(1, us)]


def calls(t: TrialRecord, **per_s: float | None) -> TrialRecord:
    changes = {("server", "syscalls", n): None if r is None else counter(0, r) for n, r in per_s.items()}
    return sampled(t, changes)


def overflows(metric: str) -> dict[tuple[str, str, str], Any]:
    return {("server", "sockets", metric): counter(0, 3)}


TOOK = ("lab", "recorder", "took_ms")


def gap(seconds: float) -> dict[tuple[str, str, str], Any]:
    """No sample for so long, from 4 s after the window's start."""
    start = WINDOW_MS[0] + 4000
    there = [(t, v) for t, v in records.SERIES[TOOK] if not start < t < start + 1000 * seconds]
    return {TOOK: sorted([*there, (start + 1000 * seconds, 12.0)])}


def moved(t: TrialRecord, **cpus: str) -> TrialRecord:
    return replace(t, cpu_sets=records.cpu_sets(**cpus))


def clock(metric: str, by_ms: float) -> dict[tuple[str, str, str], Any]:
    """A clock that jumps within the window."""
    key = ("host", "clocks", metric)
    return {key: [(t, v + by_ms * (t > WINDOW_MS[0] + 3000)) for t, v in records.SERIES[key]]}


def overdue(ms: float, rounds: int) -> dict[tuple[str, str, str], Any]:
    late = ("lab", "recorder", "late_ms")
    began = {WINDOW_MS[0] + 1000 * each for each in range(rounds)}
    return {late: [(t, ms if t in began else v) for t, v in records.SERIES[late]]}


def costly() -> dict[tuple[str, str, str], Any]:
    return {TOOK: [(t, 150.0) for t, _ in records.SERIES[TOOK]]}


def ended(t: TrialRecord, code: int, signal: str | None) -> TrialRecord:
    return replace(t, exits={"server": {"code": code, "signal": signal, "oom": False}})


@pytest.mark.parametrize(("check", "level", "spoil"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS])
def test_a_fault_is_seen_and_named(check, level, spoil):
    summary = judged(spoil(trial()))
    assert (check, level) in counted(summary)
    finding = next(f for f in summary.findings if f.check == check and f.level == level)
    assert finding.says
    assert finding.trial == "epoll_lt/1"
    assert summary.exit_code == {"limit": 0, "suspect": summary.exit_code, "invalid": 5, "fail": 99}[level]


def test_every_check_has_a_fault_that_it_sees():
    seen = {fault[1] for fault in FAULTS}
    elsewhere = {
        "known_limit",
        "backlog",
        "own_users",
        "link_in_force",
        "event_on_time",
        "link_delay",
        "link_loss",
        "link_rate",
        "link_drops",
        "delayline_lateness",
    }
    assert {check.name for check in checks.TRIAL_CHECKS} == seen | elsewhere


def test_suspect_alone_keeps_pass():
    summary = judged(with_load(trial(), connected_peak=985))
    assert (summary.verdict, summary.exit_code) == ("PASS", 0)


@pytest.mark.parametrize(
    ("late_us", "p50_us"),
    [(9000, 100_000), (900, 1000)],
    ids=["late, but little of the median", "much of the median, but little"],
)
def test_lateness_needs_both(late_us, p50_us):
    response = hdr({p50_us: 1}, N)
    times = {"response_hdr": response, "service_hdr": response}
    spoilt = with_load(trial(), lateness_generator_hdr=hdr({late_us: 1}, N), **times)
    assert not {c for c, _ in counted(judged(spoilt))} & {"lateness"}


def test_sends_that_waited_for_a_free_connection_are_the_servers_doing():
    waited = with_load(trial(), lateness_hdr=hdr({10: 90, 900_000: 10}, N))
    assert "lateness" not in {c for c, _ in counted(judged(waited))}
    assert checks.disturbed(waited) is None
    older = with_load(waited, lateness_generator_hdr=None)
    assert "send lateness p99 900 ms = 900 × p50" in (checks.disturbed(older) or ""), "it does not tell why"


def test_a_drift_of_little_time_is_none():
    seconds = [second(k, {200: 1} if k < 7 else {400: 1}) for k in range(12)]
    assert "steady" not in {c for c, _ in counted(judged(with_load(trial(), seconds=seconds)))}


def test_one_busy_second_is_none():
    assert not counted(judged(with_load(trial(), seconds=busy(0.95, 4))))


def test_workers_on_one_cpu_are_judged_together():
    seconds = [second(k, cpu_cores=[0.48, 0.48]) for k in range(12)]
    summary = judged(with_load(trial(), seconds=seconds))
    assert ("generator_cpu", "invalid") in counted(summary)
    placed = replace(trial(), placement={"server": "0", "swarm": "1-2", "overlap": False})
    assert not counted(judged(with_load(placed, seconds=seconds)))


def test_a_closed_load_has_no_rate_to_reach_and_is_labelled():
    closed = with_swarm(trial(), load={"executor": "constant-users", "think_time": 0.5, "rate": None})
    summary = judged(with_load(closed, sent=N, service_hdr=hdr({500: 1}, N)))
    assert "closed load" in summary.stamps
    assert not counted(summary)


def test_verification_after_the_servers_last_word_is_not_its_own():
    early = (*trial().verify[:1], trial().verify[1].replaced(mono_ms=records.ENDS_MS + 1))
    assert counted(judged(replace(trial(), verify=early))) == {("server_count", "suspect")}
    last = trial().server_stats[-1].replaced(requests=ALL + records.VERIFIED)
    assert not counted(
        judged(replace(trial(), verify=early, server_stats=(*trial().server_stats[:-1], last)))
    )


def test_an_answer_after_the_timeout_is_within_what_was_sent():
    late = recount(failing(trial(), 10), 0)
    assert "server_count" not in {c for c, _ in counted(judged(late))}


@pytest.mark.parametrize("missing", ["lateness_hdr", "whole", "workers", "locust"])
def test_missing_data_is_unknown_and_inconclusive(missing):
    old = with_load(trial(), lateness_generator_hdr=None)
    assert not counted(judged(old)), "an earlier record tells all lateness, and it was small"
    spoilt = with_load(old, **{missing: [] if missing == "workers" else None})
    summary = judged(spoilt)
    assert (summary.verdict, summary.exit_code) == ("INCONCLUSIVE", 5)
    assert "unknown" in {level for _, level in counted(summary)}


def test_unknown_in_a_check_that_is_not_required_keeps_pass():
    without = series({key: None for key in records.SERIES if key[1] == "syscalls"})
    summary = judged(replace(trial(), series=without))
    assert counted(summary) == {("model_profile", "unknown")}
    assert summary.verdict == "PASS"


def test_the_local_runtime_is_suspect_not_unknown():
    gone = {key: None for key in records.SERIES if key[1] == "cgroup"}
    procfs = {(node, "procfs", "cpu_us"): counter(1, 2e5) for node in NODES}
    summary = judged(
        replace(trial(), runtime="local", stamps=("not isolated",), series=series({**gone, **procfs}))
    )
    assert counted(summary) == {("isolation", "suspect")}
    assert summary.verdict == "PASS"


def test_a_check_that_crashes_is_unknown_with_its_error():
    summary = judged(with_load(trial(), lateness_hdr="no histogram", lateness_generator_hdr=None))
    finding = next(f for f in summary.findings if f.check == "lateness")
    assert finding.level == "unknown"
    assert "the check itself failed: " in finding.says
    assert summary.exit_code == 5


def test_a_trial_is_checked_alone_before_the_run_is_over():
    assert checks.check_trial(trial()) == ()
    found = checks.check_trial(connected(trial(), 900))
    assert [(f.check, f.level, f.trial) for f in found] == [("connections_reached", "invalid", "epoll_lt/1")]


def test_what_all_trials_share_is_said_once():
    trials = [replace(trial(f"epoll_lt/{i}"), warnings=("collector cgroup: gone",)) for i in (1, 2, 3)]
    said = [f for f in judged(*trials).findings if f.check == "sampling"]
    assert [(f.trial, f.says) for f in said] == [(None, "collector cgroup: gone")]


def test_limits_grade_both_ways():
    assert [LIMITS["error_rate"].grade(v) for v in (0.001, 0.002, 0.02)] == ["ok", "suspect", "invalid"]
    assert [LIMITS["offered_load"].grade(v) for v in (0.99, 0.97, 0.9)] == ["ok", "suspect", "invalid"]
    assert Limit("x", 1, 2, "", "").grade(float("nan")) == "invalid"
    assert all(limit.source for limit in LIMITS.values())
    assert not list(graded("steal", 0.0, "", ""))


def test_own_users_say_what_is_not_asked_of_them():
    timing = {"source": "locust users", "resolution_us": 1, "response_from": "actual send"}
    load = {"executor": "own-users"}
    own = with_load(
        with_swarm(trial(), load=load, locustfile="users.py"),
        timing=timing,
        lateness_hdr=hdr({1: 1}, 0),
        connected_peak=3,
    )
    summary = judged(own)
    (said,) = [f for f in summary.findings if f.check == "own_users"]
    assert said.expected
    for name in (
        "offered_load",
        "connections_reached",
        "lateness",
        "omission",
        "little_law",
        "generator_ceiling",
    ):
        assert name in said.says
        assert name not in summary.checks
    assert summary.verdict == "PASS"
    assert {"closed load", "times by locust users, in steps of 1 µs"} <= set(summary.stamps)


HIDDEN = (
    "system calls were not counted: server shares this host's PID namespace: its calls cannot be told apart"
)
NOT_VISIBLE = "the nodes' processes are not visible from here: no figures from /proc and cgroups"


def without(t: TrialRecord, *sources: str, warning: str) -> TrialRecord:
    """The trial without a sample of these sources, and with the recorder's warning about it."""
    gone = {key: None for key in records.SERIES if key[1] in sources}
    return replace(t, series=series(gone), warnings=(warning,))


@pytest.mark.parametrize(
    ("sources", "warning", "unknown"),
    [
        (("syscalls",), HIDDEN, {"model_profile"}),
        (("syscalls",), "system calls were not counted: bpf(2): Operation not permitted", {"model_profile"}),
        (
            ("host",),
            "collector host: [Errno 5] Input/output error",
            {"swap", "host_quiet", "kernel_counters"},
        ),
        (("sockets",), "collector sockets: no such process", {"kernel_counters"}),
        (
            ("syscalls", "cgroup", "sockets"),
            NOT_VISIBLE,
            {
                "model_profile",
                "kernel_counters",
                "generator_throttled",
                "throttled",
                "oom",
                "cpu_full",
                "host_quiet",
                "run_delay",
            },
        ),
    ],
)
def test_one_cause_is_one_finding(sources: tuple[str, ...], warning: str, unknown: set[str]) -> None:
    """What a check lacks is told as its reason, and not once more as a fault of the samples."""
    summary = judged(without(trial(), *sources, warning=warning))
    assert {f.check for f in summary.findings if f.level == "unknown"} == unknown
    assert {f.says for f in summary.findings if f.check in unknown} == {f"not checked: {warning}"}
    assert [f for f in summary.findings if f.check == "sampling"] == []
    [group] = [group for group in groups(summary) if group.word == "unknown"]
    assert set(group.check.split(", ")) == unknown
    assert group.rest == ()


def test_a_server_whose_statistics_cannot_be_read_is_one_finding() -> None:
    says = "the server's statistics break images/CONTRACT.md: requests: not a number"
    summary = judged(replace(trial(), server_stats=(), warnings=(says,)))
    assert {f.says for f in summary.findings} == {f"not checked: {says}"}
    assert {f.check for f in summary.findings} == {"known_limit", "server_count", "server_window"}
    assert len(groups(summary)) == 1


def test_a_client_that_ran_out_of_ports_is_one_finding() -> None:
    assert counted(judged(erring(trial(), ports_exhausted=100))) == {("client_exhausted", "invalid")}


def test_engines_that_share_a_busy_cpu_are_one_finding() -> None:
    """Each engine near a CPU, and both together over theirs: the greater figure speaks for both."""
    seconds = [second(k, cpu_cores=[0.95, 0.1]) for k in range(12)]
    summary = judged(with_load(trial(), seconds=seconds))
    [finding] = [f for f in summary.findings if f.check == "generator_cpu"]
    assert finding.says.startswith("for two seconds, 2 swarm engines used")


CLOSED = {"executor": "constant-users", "think_time": 0.0, "rate": None}
LOCAL = ("not isolated",)


def wrong(record: TrialRecord) -> list[Finding]:
    return [f for f in judged(record).findings if f.level in ("suspect", "invalid", "fail")]


@pytest.mark.parametrize("spoil", [fault[3] for fault in FAULTS], ids=[fault[0] for fault in FAULTS])
def test_every_fault_comes_with_advice_that_fits_the_load(spoil: Spoil) -> None:
    """A closed load has no rate that anybody could lower or raise."""
    opened = wrong(spoil(trial()))
    assert [f.check for f in opened if not f.do] == []
    closed = wrong(spoil(with_swarm(trial(), load=CLOSED)))
    assert [f.do for f in closed if re.search(r"\b(lower|raise) the rate\b", f.do)] == []


def advice(record: TrialRecord, check: str) -> str:
    [found] = {f.do for f in wrong(record) if f.check == check}
    return found


def test_workers_are_advised_only_where_the_swarm_has_a_cpu_for_them() -> None:
    full = with_load(trial(), seconds=busy(0.95, 4, 5))
    assert advice(full, "generator_cpu").startswith("lower the rate")
    wide = replace(full, placement={"server": "0", "swarm": "1-7", "overlap": False})
    assert "raise `workers` of the swarm (2; it has 7 CPUs)" in advice(wide, "generator_cpu")


def test_workers_have_addresses_of_their_own_in_containers_only() -> None:
    out = erring(trial(), ports_exhausted=1)
    assert "raise `workers`" in advice(out, "client_exhausted")
    local = advice(replace(out, stamps=LOCAL, runtime="local"), "client_exhausted")
    assert "use fewer users, or the docker runtime" in local


def test_a_closed_load_is_lowered_by_its_users() -> None:
    full = with_load(with_swarm(trial(), load=CLOSED), seconds=busy(0.95, 4, 5))
    assert "fewer users, or a longer think time" in advice(full, "generator_cpu")


NUMBER = re.compile(r"(?<![\w.-])[\d.,]*\d( %| ms| s\b| ×| times)?")


@pytest.mark.parametrize("spoil", [fault[3] for fault in FAULTS], ids=[fault[0] for fault in FAULTS])
def test_the_limit_stands_behind_the_figure_that_it_limits(spoil: Spoil) -> None:
    """The last number before the limit has the unit of the limit: it is the one that was judged."""
    for finding in wrong(spoil(trial())):
        before, limit, after = finding.says.partition(" (limit ")
        if not limit or after.startswith("0)"):
            continue
        unit = list(NUMBER.finditer(before))[-1].group(1) or ""
        units = {one.group(1) or "" for one in NUMBER.finditer(after.partition(")")[0])}
        assert unit in units or (unit, "×" in before) == (" ×", " %" in units), finding.says


TEXTS: list[tuple[Spoil, str, str]] = [
    (lambda t: failing(t, 60), "errors", "0.300 % of the window's requests failed (limit 0.1 %); errors over the whole load: timeout 60"),
    (lambda t: with_load(t, sent=N * 90 // 100), "offered_load", "of 20,000 requested arrivals the swarm sent 90.0 % (limit 95 %)"),
    (lambda t: connected(t, 900), "connections_reached", "900 of 1,000 users were connected throughout the window, 90.0 % (limit 95 %)"),
    (lambda t: answers(t, 1500), "tail_support", "too few answers in the window for p95: 1,500 (limit 2,000 samples)"),
    (lambda t: with_load(t, seconds=busy(0.95, 4, 5)), "generator_cpu", "for two seconds, 2 swarm engines used "),
    (lambda t: sampled(t, host(cpu1_steal_us=3e5)), "host_quiet", "on CPU 1 of the swarm, steal time "),
    (lambda t: with_load(t, in_flight_area_s=AREA_S * 0.9), "little_law", " by the time that each was in flight: a difference of 10.0 % (limit 5 %)"),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "check", "text"), TEXTS, ids=[text[1] for text in TEXTS])
def test_a_finding_says_what_was_judged(spoil: Spoil, check: str, text: str) -> None:
    assert [f.says for f in wrong(spoil(trial())) if f.check == check and text in f.says]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("steal", 0.03, "x (limit 1 %), y"),
        ("steal", 0.06, "x (limit 5 %), y"),
        ("oom_kills", 1, "x (limit 0), y"),
        ("lateness_of_p50", 0.2, "x (limit 10 % of p50), y"),
    ],
)
def test_what_follows_the_figure_follows_its_limit(name: str, value: float, text: str) -> None:
    [found] = graded(name, value, "x", "do", ", y")
    assert found.message == text
    assert list(graded(name, 0, "x", "do", ", y")) == []
