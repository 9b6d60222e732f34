"""Named groups of the swarm: what a scenario means by them, their nodes, and what they measured as one."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hdrh.histogram import HdrHistogram

from lab.analysis.groups import parts
from lab.analysis.summary import summarise
from lab.common.errors import NoMeasurement, UsageError
from lab.impair.trial import resolve
from lab.load.event_merger import EventMerger
from lab.load.locust import LocustDriver
from lab.load.merge import add_histograms, merged
from lab.plan.capacity import place, plan_capacity
from lab.plan.plan import expand
from lab.plan.render import Addressing, render
from lab.results.load import LoadResult, LocustCount
from lab.results.record import TrialRecord
from lab.results.swarm_event import PhaseStart, WorkerLost
from tests.support import records
from tests.support.records import RESPONSE, hdr, judged, trial, with_load
from tests.support.scenarios import HOST, resolved

TEXT = """\
name: two
servers:
  thread: {model: thread}
swarm:
  browsers:
    users: 10
    workers: 1
    load: {executor: constant-arrival-rate, rate: 100/s}
    phases: {warmup: 1s, measure: 4s}
  holders:
    users: 100
    workers: 2
    spawn-rate: 50
    load: {executor: constant-users, think-time: 1s}
    phases: {warmup: 1s, measure: 4s}
    drain: 9s
links:
  - {endpoints: [browsers, servers], delay: 5ms}
  - {endpoints: [servers, holders], delay: 50ms}
"""


def test_what_holds_for_all_groups_together(tmp_path) -> None:
    swarm = resolved(tmp_path, TEXT).scenario.swarm
    assert (swarm.users, swarm.workers, swarm.max_users, swarm.drain) == (110, 3, 110, 9.0)
    assert swarm.users / swarm.spawn_rate == 2.0  # the longer of their ramps
    assert swarm.phases.measure == 4.0
    assert swarm.worker_nodes == ("browsers-worker-0", "holders-worker-0", "holders-worker-1")
    assert [group.master for group in swarm.all_groups] == ["browsers-master", "holders-master"]


def test_a_swarm_without_groups_keeps_its_names(tmp_path) -> None:
    (group,) = resolved(tmp_path).scenario.swarm.all_groups
    assert (group.master, group.workers) == ("master", ("worker-0", "worker-1"))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("    users: 10\n", "    user: 10\n", "scenario.yaml:6:5: swarm.browsers.user: unknown key 'user'"),
        (
            "    users: 100\n",
            "    users: 1\n",
            "scenario.yaml:12:14: swarm.holders.workers: 2 workers need at least 2 users, not 1",
        ),
        ("    drain: 9s\n", "    wire: echo\n", "wire must be the same in all groups"),
        ("measure: 4s}\n  holders", "measure: 5s}\n  holders", "phases must be the same in all groups"),
        ("  browsers:\n", "  thread:\n", "a server has the same name, so links cannot tell them apart"),
        (
            "  browsers:\n",
            "  worker-0:\n",
            "worker-0 cannot name a group: swarm, servers, server, master and worker-",
        ),
        ("[browsers, servers]", "[browser, servers]", "unknown endpoint 'browser'; did you mean browsers"),
        ("[browsers, servers]", "[browsers, holders]", "a link joins a node of the swarm and a server"),
        ("swarm:\n", "swarm:\n  users: 5\n", "unknown key 'browsers'"),
    ],
)
def test_what_does_not_go_together_is_refused_with_its_place(tmp_path, old, new, says) -> None:
    assert old in TEXT
    with pytest.raises(UsageError) as caught:
        resolved(tmp_path, TEXT.replace(old, new, 1))
    assert says in str(caught.value)


def test_defaults_and_overrides_reach_each_group(tmp_path) -> None:
    from lab.scenario.resolve import load

    (tmp_path / "lab.yaml").write_text("defaults:\n  swarm: {spawn-rate: 7, workers: 3}\n")
    (tmp_path / "two.yaml").write_text(TEXT)
    found = load(tmp_path / "two.yaml", lab_yaml=tmp_path / "lab.yaml", overrides=["swarm.browsers.users=20"])
    groups = found.scenario.swarm.groups
    assert (groups["browsers"].spawn_rate, groups["holders"].spawn_rate) == (7, 50)
    assert (groups["browsers"].users, groups["browsers"].workers) == (20, 1)
    assert found.origin(("swarm", "browsers", "spawn-rate")) == "lab.yaml:2"


def rendered(tmp_path) -> tuple[Any, Any]:
    plan = expand(resolved(tmp_path, TEXT))
    capacity, placement = plan_capacity(plan, HOST), place(HOST, plan.scenario)
    return plan.trials[0], render("run", plan, plan.trials[0], capacity, placement, Addressing())


def test_each_group_has_a_master_and_workers_of_its_own_that_wait_for_each_other(tmp_path) -> None:
    _, topology = rendered(tmp_path)
    assert [(node.name, node.role) for node in topology.nodes] == [
        ("server", "server"), ("browsers-master", "master"), ("browsers-worker-0", "worker"),
        ("holders-master", "master"), ("holders-worker-0", "worker"), ("holders-worker-1", "worker"),
    ]  # fmt: skip
    settings = {node.name: json.loads(node.environment["LAB_SWARM"]) for node in topology.nodes[1:]}
    assert all(one["barrier"] for one in settings.values())
    last = settings["holders-worker-1"]
    assert (last["worker_index"], last["users"], last["workers"]) == (1, 100, 2)
    assert last["master"]["host"] == "holders-master"
    assert settings["browsers-worker-0"]["load"]["rate_per_s"] == 100


class Addresses:
    """Knows where nodes are."""

    def address(self, node: str, network: str) -> str:
        return f"address of {node}"


def test_a_link_names_a_group_and_is_told_apart_at_the_server(tmp_path) -> None:
    one, _ = rendered(tmp_path)
    links = [resolve(spec, Addresses(), one, n) for n, spec in enumerate(one.scenario.links)]  # type: ignore[arg-type]
    egresses = [[(one.node, one.direction, one.peers) for one in link.egresses] for link in links if link]
    holders = ("address of holders-worker-0", "address of holders-worker-1")
    assert egresses == [
        [("browsers-worker-0", "there", ()), ("server", "back", ("address of browsers-worker-0",))],
        [("holders-worker-0", "back", ()), ("holders-worker-1", "back", ()), ("server", "there", holders)],
    ]


def grouped(slow_us: int = 50_000) -> LoadResult:
    """Two groups that measured the same number of requests, one of them slowly."""
    far = {slow_us: 1}
    seconds = tuple(records.second(k, far) for k in range(records.WARMUP_S + records.MEASURE_S))
    hdrs = {"response_hdr": hdr(far, records.N), "service_hdr": hdr(far, records.N)}
    slow = LoadResult(records.result(**hdrs), seconds, records.PHASES)
    return merged({"browsers": records.load(), "holders": slow})


def test_histograms_are_added_slot_by_slot() -> None:
    one, other = hdr(RESPONSE, 1000), hdr({50_000: 1}, 500)
    both = HdrHistogram.decode(add_histograms([one, other, other]))
    assert both.get_total_count() == 2000
    assert both.get_count_at_value(50_000) == 1000
    assert both.get_count_at_value(1000) == 600
    assert add_histograms([one]) == one


def test_counts_are_added_and_the_groups_kept() -> None:
    load = grouped()
    for name in ("sent", "answered", "connected_peak", "bytes_in"):
        assert getattr(load.result, name) == 2 * getattr(load.groups["browsers"].result, name)
    assert load.result.whole.answered == 2 * records.ALL
    assert load.result.locust == LocustCount(requests=2 * records.ALL, failures=0)
    assert load.result.window_mono_ms == records.WINDOW_MS
    assert load.window_ms == load.groups["holders"].window_ms
    assert [w.node for w in load.result.workers] == [
        "browsers-worker-0", "browsers-worker-1", "holders-worker-0", "holders-worker-1",
    ]  # fmt: skip
    first = load.seconds[0]
    assert (first.k, first.phase, first.answered) == (0, "warmup", 2 * records.RATE)
    assert first.cpu_cores == (0.2, 0.21, 0.2, 0.21)
    assert first.loop_lag_p99_us == 300


def test_errors_are_added_kind_by_kind() -> None:
    reset = {"count": 2, "first_mono_ms": 5.0, "last_mono_ms": 9.0, "example": "one"}
    later = {"count": 3, "first_mono_ms": 4.0, "last_mono_ms": 12.0, "example": "other"}
    load = merged(
        {
            "a": records.load(errors={"reset": reset}),
            "b": records.load(errors={"reset": later, "timeout": reset}),
        }
    )
    both = {"count": 5, "first_mono_ms": 4.0, "last_mono_ms": 12.0, "example": "one"}
    assert load.result.to_json()["errors"] == {"reset": both, "timeout": reset}


def test_groups_that_were_not_measured_at_the_same_time_are_none() -> None:
    with pytest.raises(NoMeasurement, match="not measured at the same time"):
        merged({"a": records.load(), "b": records.load(window_mono_ms=[0.0, 1.0])})


def test_a_record_keeps_them(tmp_path) -> None:
    record = replace(trial(), load=grouped())
    read = TrialRecord.from_json(json.loads(json.dumps(record.to_json())), record.series)
    assert read.load == record.load


def of_groups(load: LoadResult) -> TrialRecord:
    """The healthy trial with two groups in its scenario, and CPUs for both."""
    record = trial(placement={"server": "0", "swarm": "1,2", "overlap": False})
    one = record.scenario.swarm.model_dump(mode="json")
    groups = {"browsers": one, "holders": one}
    whole = {**one, "users": 2 * records.USERS, "load": {"executor": "by-group"}, "groups": groups}
    stats = tuple(
        s.replaced(requests=2 * (s.requests - asked) + asked, open_peak=2 * records.USERS)
        for s, asked in zip(record.server_stats, (5, 5, 5, 5, 10), strict=True)
    )
    sampled = {
        (f"{group}-{node}", source, metric): values
        for (node, source, metric), values in records.SERIES.items()
        if node in ("master", "worker-0", "worker-1")
        for group in groups
    }
    record = replace(record, load=load, server_stats=stats, series=records.series(sampled))
    return records.with_scenario(record, swarm=whole)


def test_each_group_has_its_own_figures_and_all_have_one() -> None:
    summary = summarise(records.run(of_groups(grouped())))
    server = summary.servers["epoll_lt"]
    assert server.requests_per_s.value == 2 * records.RATE
    browsers, holders = server.groups["browsers"], server.groups["holders"]
    assert browsers.requests_per_s.value == holders.requests_per_s.value == records.RATE
    assert browsers.response_ms.p99 == pytest.approx(1.2, rel=0.01)
    assert holders.response_ms.p50 == pytest.approx(50, rel=0.01)
    assert server.response_ms.p90 == pytest.approx(50, rel=0.01)
    assert server.response_ms.samples == 2 * records.N


def test_links_and_events_that_name_groups_stay_with_the_whole_trial() -> None:
    links = [{"endpoints": ["browsers", "servers"], "delay": 0.005}]
    events = [{"at": 1.0, "pause": "holders-worker-0", "duration": 0.5}]
    record = records.with_scenario(of_groups(grouped()), links=links, events=events)
    each = parts(record)
    assert [view.scenario.links for view in each.values()] == [(), ()]
    assert [view.load for view in each.values()] == list(record.load.groups.values())
    assert set(summarise(records.run(record)).servers["epoll_lt"].groups) == {"browsers", "holders"}


def test_checks_are_asked_of_each_group_where_the_sum_would_hide_or_feign_a_fault() -> None:
    healthy = judged(of_groups(grouped()))
    assert [f for f in healthy.findings if f.level != "ok"] == []
    assert healthy.verdict == "PASS"
    load = grouped()
    few = with_load(trial(), sent=records.N // 2).load
    assert few is not None
    short = replace(load, groups={**load.groups, "holders": few})
    (said,) = [f for f in judged(of_groups(short)).findings if f.check == "offered_load"]
    assert said.level == "invalid"
    assert said.says.startswith("holders: sent 50.0 % of the")


def test_requests_are_conserved_over_the_sum() -> None:
    record = of_groups(grouped())
    more = tuple(s.replaced(requests=s.requests + 900) for s in record.server_stats)
    assert ("server_count", "invalid") in records.counted(judged(replace(record, server_stats=more)))


def test_events_of_several_masters_are_one_stream() -> None:
    seen: list[Any] = []
    merger = EventMerger(["a", "b"], seen.append)
    warmup = PhaseStart(phase="warmup", starts_mono_ms=7.0)
    merger.take("a", warmup)
    assert seen == []
    merger.take("b", warmup)
    assert seen == [warmup]
    merger.take("a", records.progress(users=3, response_p99_ms=8.0))
    merger.take("b", records.progress(users=4, response_p99_ms=None))
    assert seen[1] == records.progress(
        users=7, response_p99_ms=8.0, connected=2 * records.USERS, sent=2000, answered=1996, in_flight=4,
        requests_per_s=2.0 * records.RATE,
    )  # fmt: skip
    merger.take("a", records.load().result)
    merger.take("a", WorkerLost(worker_index=1, says="gone"))
    assert [e.event for e in seen[2:]] == ["worker_lost"]


class Masters:
    """A deployment of masters that hold when told to go, and have measured when told to begin."""

    def __init__(self, lost: str | None = None) -> None:
        self.told: list[tuple[str, str]] = []
        self._events: dict[str, list[dict[str, Any]]] = {}
        self._lost = lost

    def wait_event(self, node: str, event: str, deadline_s: float) -> dict[str, Any]:
        return {}

    def nodes(self) -> list[str]:
        return []

    def subscribe(self, callback: Any) -> None:
        self._callback = callback

    def events(self, node: str) -> list[dict[str, Any]]:
        return self._events[node]

    def signal(self, node: str, name: str) -> None:
        self.told.append((node, name))
        if name == "SIGUSR1":
            self._tell(node, {"event": "phase", "phase": "held", "starts_mono_ms": 1.0})
        elif node == self._lost:
            self._tell(node, {"event": "worker_lost", "worker_index": 1, "says": "gone"})
        else:
            for second in records.load().seconds:
                self._tell(node, second.to_json())
            self._tell(node, records.result())

    def _tell(self, node: str, event: dict[str, Any]) -> None:
        self._events.setdefault(node, []).append(event)
        self._callback(node, event)


def test_no_group_begins_before_all_are_held(tmp_path) -> None:
    one, _ = rendered(tmp_path)
    masters = Masters()
    load = LocustDriver().run(masters, one, lambda _: None)  # type: ignore[arg-type]
    assert [name for _, name in masters.told] == ["SIGUSR1", "SIGUSR1", "SIGUSR2", "SIGUSR2"]
    assert set(load.groups) == {"browsers", "holders"}
    assert load.result.answered == 2 * records.N


def test_a_group_that_is_the_only_one_begins_too(tmp_path) -> None:
    text = TEXT[: TEXT.index("  holders:")]
    (one,) = expand(resolved(tmp_path, text)).trials
    masters = Masters()
    load = LocustDriver().run(masters, one, lambda _: None)  # type: ignore[arg-type]
    assert masters.told == [("browsers-master", "SIGUSR1"), ("browsers-master", "SIGUSR2")]
    assert load.result.answered == load.groups["browsers"].result.answered == records.N


def test_a_lost_worker_is_named_with_its_group(tmp_path) -> None:
    one, _ = rendered(tmp_path)
    with pytest.raises(NoMeasurement, match="holders-worker-1: gone"):
        LocustDriver().run(Masters(lost="holders-master"), one, lambda _: None)  # type: ignore[arg-type]
