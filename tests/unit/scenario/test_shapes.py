"""Loads and clients of every shape: what a scenario may ask, what a node is told, how records are judged."""

# ruff: noqa: E501  (tables are easier to read in one line a row)

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from swarm import settings as node

from lab.analysis.figures import figures
from lab.common.errors import HostCannot, UsageError
from lab.plan.capacity import min_workers, place, plan_capacity
from lab.plan.plan import expand
from lab.plan.render import Addressing, render
from lab.report.content.limitations import limits
from lab.report.html_page import load_words
from lab.run.calibration import null_trial
from lab.scenario.load import Load
from tests.support import records
from tests.support.records import ALL, USERS, N, counted, hdr, judged, second, trial, with_load, with_swarm
from tests.support.scenarios import host, resolved

TEXT = """\
name: shaped
servers:
  epoll_lt: {model: epoll_lt}
swarm:
  users: 100
  workers: 2
  load: LOAD
"""
OPEN = "{executor: constant-arrival-rate, rate: 100/s}"
RAMP = "{executor: ramping-arrival-rate, start-rate: 100/s, stages: [{duration: 4s, target: 900/s}, {duration: 0s, target: 50/s}]}"
GROWING = "{executor: ramping-users, think-time: 500ms, stages: [{duration: 5s, target: 900}]}"


def scenario(load: str = OPEN, more: str = "") -> str:
    return TEXT.replace("LOAD", load) + "".join(f"  {line}\n" for line in more.splitlines())


def told(folder: Any, text: str) -> dict[str, Any]:
    """LAB_SWARM of a worker."""
    plan = expand(resolved(folder, text))
    made = render(
        "r", plan, plan.trials[0], plan_capacity(plan, host()), place(host(), plan.scenario), Addressing()
    )
    settings: dict[str, Any] = json.loads(made.node("worker-1").environment["LAB_SWARM"])
    return settings


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        (scenario(), {"load": {"executor": "constant-arrival-rate", "rate_per_s": 100.0}}),
        (scenario("{executor: constant-arrival-rate, rate: 100/s, arrivals: poisson}"), {"load": {"executor": "constant-arrival-rate", "rate_per_s": 100.0, "arrivals": "poisson"}}),
        (scenario(RAMP), {"load": {"executor": "ramping-arrival-rate", "start_rate_per_s": 100.0, "stages": [{"duration_s": 4.0, "target_per_s": 900.0}, {"duration_s": 0.0, "target_per_s": 50.0}]}}),
        (scenario("{executor: constant-users, think-time: 500ms}"), {"load": {"executor": "constant-users", "think_time_s": 0.5}}),
        (scenario("{executor: constant-users, think-time: {uniform: [100ms, 1s]}}"), {"load": {"executor": "constant-users", "think_time": {"distribution": "uniform", "min_s": 0.1, "max_s": 1.0}}}),
        (scenario("{executor: constant-users, think-time: {exponential: 500ms}}"), {"load": {"executor": "constant-users", "think_time": {"distribution": "exponential", "mean_s": 0.5}}}),
        (scenario("{executor: constant-users, think-time: {lognormal: {median: 500ms, sigma: 0.5}}}"), {"load": {"executor": "constant-users", "think_time": {"distribution": "lognormal", "median_s": 0.5, "sigma": 0.5}}}),
        (scenario(GROWING), {"load": {"executor": "ramping-users", "think_time_s": 0.5, "stages": [{"duration_s": 5.0, "target_users": 900}]}}),
        (scenario(more="clients: {idle: 90%, slow: 4%, slow-side: read, slow-rate: 20B/s}"), {"clients": {"idle_share": 0.9, "slow_share": 0.04, "slow_side": "read", "slow_bytes_per_s": 20.0}}),
        (scenario(more="clients: {churn: true}"), {"clients": {"churn": True}}),
        (scenario(more="page: {paths: [/, /plaintext], at-once: true}"), {"page": {"paths": ["/", "/plaintext"], "at_once": True}}),
        (scenario(more="engines: 3"), {"engines": 3}),
    ],
    ids=["constant", "poisson", "ramp", "closed", "uniform", "exponential", "lognormal", "ramping users", "idle and slow", "churn", "page", "engines"],
)  # fmt: skip
def test_what_a_scenario_asks_the_node_is_told_and_takes(tmp_path, text, settings):
    asked = told(tmp_path, text)
    node.parse(asked)  # raises for what the node would refuse
    shared = {"engines", "clients", "page"}
    assert {key: value for key, value in asked.items() if key in shared | {"load"}} == {
        "load": asked["load"]
    } | settings


@pytest.mark.parametrize(
    ("load", "more", "says"),
    [
        ("{executor: constant-arrival-rate}", "", "7:9: swarm.load: constant-arrival-rate needs rate (such as 2000/s)"),
        ("{executor: constant-arrival-rate, rate: 0/s}", "", "7:49: swarm.load.rate: the rate is always 0/s: no request would be sent"),
        ("{executor: constant-users, think-time: 1s, arrivals: poisson}", "", "7:52: swarm.load.arrivals: constant-users takes no arrivals; it takes think-time"),
        ("{executor: constant-arrival-rate, rate: 1/s, arrivals: poison}", "", "swarm.load.arrivals: unknown value 'poison'; did you mean poisson?"),
        ("{executor: constant-arrival-rate, rate: 1/s, stages: [{duration: 1s, target: 2/s}]}", "", "takes no stages; it takes rate, arrivals"),
        ("{executor: ramping-arrival-rate, start-rate: 1/s}", "", "needs stages (such as [{duration: 5s, target: 900/s}])"),
        ("{executor: ramping-arrival-rate, start-rate: 1/s, stages: [{duration: 5s, target: 900}]}", "", "7:91: swarm.load.stages[0].target: ramping-arrival-rate needs a rate, such as 900/s"),
        ("{executor: ramping-users, think-time: 1s, stages: [{duration: 5s, target: 900/s}]}", "", "swarm.load.stages[0].target: ramping-users needs a number of users, such as 900"),
        ("{executor: ramping-users, think-time: 1s, stages: [{duration: 5s, target: -1}]}", "", "swarm.load.stages[0].target: -1 users: must be 0 or more"),
        ("{executor: ramping-users, think-time: 1s, stages: [{duration: 11s, target: 900}]}", "", "swarm.load.stages: the stages take 11s, but the measured window is 10s"),
        ("{executor: constant-users, think-time: {uniform: [2s, 1s]}}", "", "swarm.load.think-time.uniform: write the shorter time first"),
        ("{executor: constant-users, think-time: {uniform: [1s, 2]}}", "", "swarm.load.think-time.uniform[1]: 2 has no unit"),
        ("{executor: constant-users, think-time: {unifrom: [1s, 2s]}}", "", "swarm.load.think-time.unifrom: unknown key 'unifrom'; did you mean uniform?"),
        ("{executor: constant-users, think-time: {exponential: 0s}}", "", "swarm.load.think-time.exponential: must be above 0s"),
        ("{executor: constant-users, think-time: {}}", "", "swarm.load.think-time: write exactly one of uniform, exponential and lognormal"),
        (OPEN, "clients: {idle: 50%, churn: true}", "swarm.clients.churn: idle and churn exclude each other"),
        (OPEN, "clients: {slow-rate: 5B/s}", "swarm.clients.slow-rate: slow-side and slow-rate need slow (such as slow: 5%)"),
        (OPEN, "clients: {slow: 5%, slow-rate: 1KiB/s}", "swarm.clients.slow-rate: must be above 0B/s and at most 100B/s"),
        (OPEN, "clients: {slow: 5%, slow-rate: 10}", "swarm.clients.slow-rate: 10 has no unit: write a pace such as 10B/s"),
        (OPEN, "clients: {idle: 100%}", "swarm.clients.idle: all 50 users of an engine are idle or slow, so none sends the load"),
        (OPEN, "clients: {idle: 60%, slow: 50%}", "idle and slow are together 110%"),
        (OPEN, "wire: greet\nclients: {idle: 50%}", "swarm.clients.idle: wire greet has one exchange per connection: no idle, slow or churn"),
        (GROWING, "clients: {idle: 50%}", "swarm.clients.idle: idle clients and ramping-users exclude each other: which users stop is undefined"),
        (OPEN, "page: {paths: [/, /plain]}", "swarm.page.paths[1]: unknown resource '/plain'; did you mean /plaintext?"),
        (OPEN, "page: {paths: []}", "swarm.page.paths: "),
        (OPEN, "wire: echo\npage: {paths: [/]}", "swarm.page: a page needs wire http1"),
        (OPEN, "clients: {churn: true}\npage: {paths: [/]}", "swarm.page: a page needs wire http1, without churn"),
        (OPEN, "engines: 51", "swarm.engines: 102 engines need at least 102 users, not 100"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused_with_its_place(tmp_path, load, more, says):
    with pytest.raises(UsageError) as caught:
        resolved(tmp_path, scenario(load, more))
    assert says in str(caught.value)
    assert "scenario.yaml:" in str(caught.value)


# -- what a load amounts to

CONSTANT = {"executor": "constant-arrival-rate", "rate": 100.0}
STEPS = {"executor": "ramping-arrival-rate", "start_rate": 100.0, "stages": [{"duration": 4.0, "target": 900.0}, {"duration": 0.0, "target": 50.0}]}  # fmt: skip


@pytest.mark.parametrize(("load", "due"), [(CONSTANT, 1000), (STEPS, 4 * 500 + 6 * 50)])
def test_arrivals_are_the_area_below_the_rate(load, due):
    assert Load.model_validate(load).arrivals_due(10.0) == due


@pytest.mark.parametrize(
    ("load", "words"),
    [
        (OPEN, "open: 100 arrivals/s"),
        (RAMP, "open: 100 → 900 in 4s → 50 in 0s arrivals/s"),
        (OPEN.replace("}", ", arrivals: poisson}"), "open: 100 arrivals/s, Poisson"),
        (GROWING, "closed: think time 500ms, → 900 users in 5s"),
        ("{executor: constant-users, think-time: {uniform: [0s, 1s]}}", "closed: think time 0s … 1s"),
    ],
)
def test_a_load_in_words(tmp_path, load, words):
    swarm = resolved(tmp_path, scenario(load)).scenario.swarm
    assert swarm.load.describe() == words


# -- how a record is judged

RAMPING = {"executor": "ramping-arrival-rate", "start_rate": 1000.0, "stages": [{"duration": 10.0, "target": 3000.0}]}  # fmt: skip
DRIFTING = [second(k, {1000: 1} if k < 7 else {2000: 1}) for k in range(12)]


def test_a_ramp_is_held_against_the_area_below_its_rate_and_need_not_be_steady():
    ramp = with_load(with_swarm(trial(), load=RAMPING), seconds=DRIFTING)
    assert not counted(judged(ramp))
    assert "steady" not in judged(ramp).checks
    assert ("offered_load", "invalid") in counted(judged(with_load(ramp, sent=N * 90 // 100)))
    assert figures(ramp).offered_per_s == 2000
    assert any(
        "the check for a steady state does not apply" in line
        for line in limits(records.run(ramp), judged(ramp))
    )


def poisson(drawn: int, sent: int) -> Any:
    load = {"executor": "constant-arrival-rate", "rate": 2000.0, "arrivals": "poisson"}
    return with_load(with_swarm(trial(), load=load), intended=drawn, sent=sent, answered=sent)


def test_a_poisson_process_may_draw_fewer_by_chance_but_not_by_much():
    chance = N - 3 * math.isqrt(N)
    rare = poisson(100, 100)  # of 200 asked for: not by chance
    little = with_swarm(rare, load={"executor": "constant-arrival-rate", "rate": 20.0, "arrivals": "poisson"})
    assert "offered_load" not in {check for check, _ in counted(judged(poisson(chance, chance)))}
    assert ("offered_load", "invalid") in counted(judged(little))
    assert ("offered_load", "invalid") in counted(judged(poisson(chance, chance * 90 // 100)))


def test_a_growing_closed_load_is_a_closed_load():
    load = {
        "executor": "ramping-users",
        "think_time": 0.5,
        "stages": [{"duration": 5.0, "target": 2 * USERS}],
    }
    grown = with_load(with_swarm(trial(), load=load), service_hdr=hdr({500: 1}, N), connected_peak=2 * USERS)
    assert "closed load" in judged(grown).stamps
    assert not counted(judged(grown))
    half = counted(judged(with_load(grown, connected_peak=USERS)))
    assert half == {("connections_reached", "invalid"), ("errors", "invalid")}


def test_churn_holds_no_connections():
    churn = with_load(with_swarm(trial(), clients={"churn": True}), connected_peak=12)
    assert not counted(judged(churn))
    assert figures(churn).memory_bytes_per_connection is None
    assert figures(trial()).memory_bytes_per_connection is not None


def recounted(t: Any, requests: int) -> Any:
    last = t.server_stats[-1].replaced(requests=requests + 2 * records.VERIFIED)
    return replace(t, server_stats=(*t.server_stats[:-1], last))


@pytest.mark.parametrize(("more", "counts"), [(40, ()), (93, ()), (39, ("suspect",)), (94, ("suspect",))])
def test_the_server_counts_slow_clients_too(more, counts):
    slow = with_load(with_swarm(trial(), clients={"slow": 0.05}), slow={"answered": 40, "ended": 3})
    found = counted(judged(recounted(slow, ALL + more)))  # 50 of 1,000 users may have one under way
    assert found == {("server_count", level) for level in counts}


@pytest.mark.parametrize(("off", "counts"), [(0, ()), (-1, ("suspect",)), (1, ("suspect",))])
def test_the_server_counts_every_resource_of_a_page(off, counts):
    page = with_swarm(trial(), page={"paths": ["/", "/plaintext"], "at_once": True})
    page = replace(page, server_stats=records.stats(2 * N))
    assert counted(judged(recounted(page, 2 * ALL + off))) == {("server_count", level) for level in counts}


def test_reports_say_what_the_clients_are_and_what_a_request_is():
    clients = {"idle": 0.9, "slow": 0.05, "churn": False}
    shaped = with_swarm(trial(), clients=clients, load=RAMPING)
    paged = with_swarm(trial("epoll_lt/2"), page={"paths": ["/", "/json"], "at_once": False})
    said = " ".join(limits(records.run(shaped, paged), judged(shaped, paged)))
    assert "hold a connection and send nothing" in said
    assert "slow clients: they count in" in said
    assert "A request is a page of 2 resources (/, /json), one after the other." in said
    assert load_words([shaped]).endswith("open: 1,000 → 3,000 in 10s arrivals/s")


# -- what it takes of the host


def needs(folder: Any, text: str, *overrides: str) -> dict[str, int]:
    plan = expand(resolved(folder, text, overrides))
    return {need.what: need.needed for need in plan_capacity(plan, host()).requirements}


def test_engines_share_their_workers_descriptors_and_each_needs_memory(tmp_path):
    one = needs(tmp_path, scenario(), "swarm.users=60000")
    three = needs(tmp_path, scenario(), "swarm.users=60000", "swarm.engines=3")
    assert one["descriptors per swarm engine"] == 30_000 + 64
    assert three["descriptors per swarm engine"] == 10_000 + 64
    assert three["client ports per swarm worker"] == one["client ports per swarm worker"] == 30_000
    assert three["memory for one trial (bytes)"] - one["memory for one trial (bytes)"] == 2 * 2 * (48 << 20)


def test_a_server_of_many_processes_has_room_for_the_unevenness_of_their_shares(tmp_path):
    text = scenario().replace("{model: epoll_lt}", "{model: epoll_lt, workers: 4}")
    found = needs(tmp_path, text, "swarm.users=40000")["descriptors per server process"]
    assert 10_000 + 4 * 100 < found < 10_000 + 6 * 100 + 64


def test_the_fewest_server_processes_that_hold_so_many():
    assert [min_workers(users, 20_000) for users in (10, 19_936, 19_937, 100_000)] == [1, 1, 2, 6]


@pytest.mark.parametrize(
    ("more", "ports"),
    [
        ("", 50),
        ("clients: {churn: true}", 50),
        ("wire: greet", 50 + 14 * 100 // 2),
        ("wire: echo\nclients: {churn: true}", 50 + 14 * 100 // 2),
        ("wire: greet\nphases: {measure: 300s}", 50 + 60 * 100 // 2),
    ],
    ids=["kept", "http1 churn: the server closes first", "greet", "echo churn", "no more than 60 s of them"],
)
def test_ports_that_this_side_closes_first_are_kept(tmp_path, more, ports):
    text = scenario(more=more)
    assert needs(tmp_path, text)["client ports per swarm worker"] == ports


def test_half_of_the_ports_is_what_connect_finds_quickly(tmp_path):
    few, many = (expand(resolved(tmp_path, scenario(), (f"swarm.users={n}",))) for n in (60_000, 66_000))
    plan_capacity(few, host(nofile_hard=10**6)).require()
    with pytest.raises(HostCannot, match="client ports per swarm worker: 33,000 needed, 32,256 available"):
        plan_capacity(many, host(nofile_hard=10**6)).require()


def test_a_rate_that_would_use_the_ports_up_is_refused_with_what_would_do(tmp_path):
    text = scenario("{executor: constant-arrival-rate, rate: 20000/s}", "wire: greet")
    with pytest.raises(HostCannot, match=r"client ports per swarm worker: .* set swarm\.workers higher"):
        plan_capacity(expand(resolved(tmp_path, text)), host()).require()


def test_the_tracker_remembers_every_connection_of_a_trial(tmp_path):
    def entries(*overrides: str) -> int:
        return needs(tmp_path, scenario(), *overrides)["conntrack entries"]

    assert entries() == entries("repeat=3") == 100
    assert entries("swarm.clients.churn=true") == 100 + 14 * 100
    assert entries("swarm.clients.churn=true", "swarm.phases.measure=500s") == 100 + 120 * 100


def test_the_null_trial_keeps_what_costs_the_swarm_and_holds_all_its_users(tmp_path):
    more = "clients: {idle: 50%}\nspawn-rate: 9\nengines: 2"
    trial_ = expand(resolved(tmp_path, scenario(RAMP, more), ("swarm.users=50000",))).trials[0]
    null = null_trial(trial_, place(host(), trial_.scenario), host()).scenario
    assert (null.swarm.users, null.swarm.engines, null.swarm.clients.idle) == (50_000, 2, 0.5)
    assert (null.swarm.load.executor, null.swarm.load.stages) == ("constant-arrival-rate", ())
    assert null.servers["null"].workers == min_workers(50_000, host().nofile_hard) == 3
