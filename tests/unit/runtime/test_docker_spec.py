"""The container specification is a pure value: the lock-down, the address pool, the seccomp profile."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from lab.common.errors import UsageError
from lab.common.short import shortened
from lab.plan.topology import Node, NodeLimits, Topology
from lab.results.store import RunFolder
from lab.runtime import docker_spec
from lab.runtime.docker_spec import Place

PLACE = Place("lab-r-t-n", "image:1", "net", {"lab.run": "r"}, "{}")


def test_every_node_is_locked_down() -> None:
    config = docker_spec.host_config(Node("n", "server", "server"), PLACE)
    assert config["cap_drop"] == ["ALL"]
    assert config["cap_add"] == []
    assert config["security_opt"] == ["no-new-privileges:true", "seccomp={}"]
    assert config["read_only"] is True
    assert config["init"] is True
    assert config["pids_limit"] == docker_spec.DEFAULT_PIDS
    assert config["mem_limit"] == config["memswap_limit"] == docker_spec.DEFAULT_MEMORY_BYTES
    assert not {"binds", "privileged", "port_bindings", "pid_mode", "ipc_mode", "devices"} & set(config)
    assert docker_spec.container_config(Node("n", "server", "server"), PLACE, config)["user"] == "10001:10001"


def test_only_a_helper_gets_net_admin() -> None:
    config = docker_spec.host_config(Node("n", "nettools", "nettools", joins="server"), PLACE)
    assert config["cap_add"] == ["NET_ADMIN"]
    spec = docker_spec.container_config(Node("n", "nettools", "nettools", joins="server"), PLACE, config)
    assert "hostname" not in spec
    assert spec["user"] == "0:0"


def test_a_node_that_joins_has_no_sysctls_of_its_own() -> None:
    sysctls = {"net.core.somaxconn": "1"}
    joined = docker_spec.host_config(Node("n", "nettools", "x", joins="a", sysctls=sysctls), PLACE)
    own = docker_spec.host_config(Node("n", "server", "x", sysctls=sysctls), PLACE)
    assert "sysctls" not in joined
    assert own["sysctls"] == sysctls


def test_limits_become_the_engines_units() -> None:
    node = Node(
        "n",
        "server",
        "x",
        cpu_set="0",
        limits=NodeLimits(cpus=1.5, memory_bytes=7_000_000, pids=9, nofile=11),
    )
    config = docker_spec.host_config(node, PLACE)
    assert (config["cpu_quota"], config["cpu_period"]) == (150_000, 100_000)
    assert (config["mem_limit"], config["pids_limit"]) == (7_000_000, 9)
    assert config["ulimits"] == [{"Name": "nofile", "Soft": 11, "Hard": 11}]
    assert config["cpuset_cpus"] == "0"


def test_only_where_the_engine_can_set_it_a_node_may_ask_for_the_real_time_class() -> None:
    node = Node("n", "worker", "x", real_time=True)
    able = docker_spec.host_config(node, replace(PLACE, rtprio=True))
    assert able["ulimits"] == [{"Name": "rtprio", "Soft": 1, "Hard": 1}]
    assert docker_spec.host_config(node, PLACE)["ulimits"] == []


def test_subnets_skip_what_is_in_use_and_begin_where_told() -> None:
    free = list(
        docker_spec.free_subnets("198.18.0.0/22", ["198.18.1.0/24", "198.18.3.128/25", "fe80::/64"], 2)
    )
    assert free == ["198.18.2.0/24", "198.18.0.0/24"]


def test_subnets_skip_a_larger_network_that_holds_them() -> None:
    assert list(docker_spec.free_subnets("198.18.0.0/22", ["198.16.0.0/12"], 0)) == []


def test_routes_are_read_as_the_kernel_prints_them() -> None:
    table = (
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "br-1\t002212C6\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    )
    assert docker_spec.host_routes(table) == ["198.18.34.0/255.255.255.0"]
    assert docker_spec.route_key("198.18.34.0/24") == "002212C6"


@pytest.mark.parametrize("bad", ["", "..", "a b", "-a", "a" * 64, "é"])
def test_names_that_could_not_be_one_are_refused(bad: str) -> None:
    with pytest.raises(UsageError, match="is not a valid name"):
        docker_spec.container_name(Topology("run", "trial", (), ()), bad)


def test_a_trials_slash_becomes_a_dash() -> None:
    assert (
        docker_spec.container_name(Topology("r", "epoll_lt/1", (), ()), "server") == "lab-r-epoll_lt-1-server"
    )


def test_swept_values_are_made_to_fit_a_name() -> None:
    def name(trial: str) -> str:
        return docker_spec.container_name(Topology("r", trial, (), ()), "server")

    assert name("poll,users=1000/1") == "lab-r-poll-users-1000-1-server"
    long = [name(f"poll,delay={'9' * 80}ms/{repeat}") for repeat in (1, 2)]
    assert long[0] != long[1]
    assert all(len(one) == len("lab-r-") + 63 + len("-server") for one in long)


def test_the_seccomp_profile_allows_io_uring_only_on_demand() -> None:
    def allowed(io_uring: bool) -> set[str]:
        profile = json.loads(docker_spec.seccomp_profile(io_uring))
        assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
        return {
            name
            for rule in profile["syscalls"]
            if rule["action"] == "SCMP_ACT_ALLOW"
            for name in rule["names"]
        }

    assert allowed(True) - allowed(False) == set(docker_spec.IO_URING_CALLS)
    assert not allowed(True) & {
        "mount",
        "ptrace",
        "unshare",
        "setns",
        "bpf",
        "keyctl",
        "reboot",
        "init_module",
    }


@pytest.mark.parametrize("length", [40, 41, 42, 50, 63])
def test_a_run_of_any_valid_name_names_containers(tmp_path, length: int) -> None:
    name = "n" * length
    run = RunFolder.create(tmp_path, name).id
    assert len(run) <= 63
    assert docker_spec.container_name(Topology(run, "thread/1", (), ()), "net-server").startswith(
        f"lab-{run}-"
    )
    assert (name in run) == (length <= 41)


def test_names_that_are_shortened_stay_distinct() -> None:
    assert shortened("a" * 62 + "b", 41) != shortened("a" * 62 + "c", 41)
    assert len(shortened("a" * 62, 41)) == 41
