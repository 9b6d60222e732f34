"""Plans: every combination once per block, in an order that the seed decides; capacity and placement."""

from dataclasses import replace

import pytest

from lab.common.errors import HostCannot, UsageError
from lab.plan.capacity import place, plan_capacity
from lab.plan.plan import expand
from lab.plan.prepared import Prepared
from lab.plan.render import Addressing, render
from lab.report.content.plan_text import as_text
from tests.support.scenarios import TEXT, host, resolved

SWEPT = TEXT + "sweep: {swarm.users: [10, 100]}\nrepeat: 3\nseed: 7\n"


def test_blocks_hold_every_combination_once(tmp_path):
    plan = expand(resolved(tmp_path, SWEPT))
    assert len(plan.trials) == 12
    for start in (0, 4, 8):
        block = plan.trials[start : start + 4]
        assert {(t.server, t.scenario.swarm.users) for t in block} == {
            (s, u) for s in ("thread", "epoll_lt") for u in (10, 100)
        }
        assert len({t.repeat for t in block}) == 1
    assert plan.trials[0].id.split("/")[1] == "1"
    assert len({t.folder for t in plan.trials}) == 12


def test_the_seed_decides_the_order(tmp_path):
    order = [t.id for t in expand(resolved(tmp_path, SWEPT)).trials]
    assert order == [t.id for t in expand(resolved(tmp_path, SWEPT)).trials]
    orders = {
        tuple(t.id for t in expand(resolved(tmp_path, SWEPT, (f"seed={n}",))).trials) for n in range(20)
    }
    assert len(orders) > 10


def test_only_some_servers(tmp_path):
    plan = expand(resolved(tmp_path), only=("thread",))
    assert [t.server for t in plan.trials] == ["thread"]
    with pytest.raises(UsageError, match="--server poll: unknown server; the scenario has thread, epoll_lt"):
        expand(resolved(tmp_path), only=("poll",))


@pytest.mark.parametrize(
    ("sweep", "says"),
    [
        ("{swarm.usres: [1]}", "unknown key 'usres'; did you mean users"),
        ("{swarm.users: [10, zero]}", "sweep.swarm.users = zero"),
        ("{swarm.users: 10}", "sweep.swarm.users"),
    ],
)
def test_a_wrong_sweep_is_refused(tmp_path, sweep, says):
    with pytest.raises(UsageError) as caught:
        expand(resolved(tmp_path, TEXT + f"sweep: {sweep}\n"))
    assert says in str(caught.value)


def test_capacity_takes_the_largest_trial_and_is_equal_for_all(tmp_path):
    plan = expand(resolved(tmp_path, TEXT.replace("users: 10", "users: 10000")))
    capacity = plan_capacity(plan, host())
    capacity.require()
    assert capacity.server_limits.nofile is not None
    assert 10_000 < capacity.server_limits.nofile <= 20_000
    assert capacity.server_limits.pids is not None
    assert capacity.server_limits.pids > 10_000
    assert capacity.worker_limits.nofile is not None
    assert capacity.worker_limits.nofile > 5_000


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"nofile_hard": 1024}, "descriptors per server process: 10,064 needed, 1,024 available"),
        ({"pid_max": 4096}, "processes and threads"),
        ({"max_map_count": 1000}, "memory maps"),
        ({"memory_available_bytes": 1 << 20}, "memory for one trial"),
        ({"conntrack_max": 100}, "conntrack"),
    ],
)
def test_what_is_missing_is_named(tmp_path, change, says):
    plan = expand(resolved(tmp_path, TEXT.replace("users: 10", "users: 10000")))
    with pytest.raises(HostCannot) as caught:
        plan_capacity(plan, host(**change)).require()
    assert says in str(caught.value)


def test_an_unknown_limit_is_taken_to_be_enough(tmp_path):
    plan = expand(resolved(tmp_path))
    plan_capacity(plan, host(conntrack_max=None, pid_max=None, threads_max=None)).require()


def test_the_plan_tells_how_long_it_takes_in_minutes_and_hours(tmp_path):
    found = resolved(tmp_path, TEXT, ("repeat=3",))
    plan, facts = expand(found), host()
    prepared = Prepared(found, plan, facts, plan_capacity(plan, facts), place(facts, found.scenario))
    assert "6 trials, about 2min 6s in all" in as_text(prepared)


def test_placement_keeps_server_and_swarm_apart(tmp_path):
    scenario = resolved(tmp_path).scenario
    assert place(host(), scenario).server == "0"
    assert place(host(), scenario).swarm == "1"
    assert not place(host(cpus=(0, 1, 2, 3)), scenario).overlap
    assert place(host(cpus=(3,)), scenario).overlap


def test_the_topology_of_a_trial(tmp_path):
    plan = expand(resolved(tmp_path))
    capacity, placement = plan_capacity(plan, host()), place(host(), plan.scenario)
    topology = render("run", plan, plan.trials[0], capacity, placement, Addressing())
    assert [node.name for node in topology.nodes] == ["server", "master", "worker-0", "worker-1"]
    assert topology.node("worker-1").networks == ("control", "data")
    assert topology.node("server").networks == ("data",)
    assert topology.node("server").environment["LAB_MODEL"] == plan.trials[0].server
    limits = [
        replace(render("run", plan, t, capacity, placement, Addressing()).node("server").limits, cpus=None)
        for t in plan.trials
    ]
    assert limits[0] == limits[1]


def test_a_worker_whose_cpu_time_the_scenario_limits_is_not_real_time(tmp_path):
    text = TEXT + "events:\n  - {at: 100ms, limit: worker-0, cpus: 0.5}\n"
    plan = expand(resolved(tmp_path, text))
    capacity, placement = plan_capacity(plan, host()), place(host(), plan.scenario)
    topology = render("run", plan, plan.trials[0], capacity, placement, Addressing())
    assert {node.name: node.real_time for node in topology.nodes} == {
        "server": False, "master": False, "worker-0": False, "worker-1": True,
    }  # fmt: skip
