"""The doctor: every fault has its row, its meaning and its remedy; a healthy host has none of them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from lab.doctor import Facts, examine, facts, worst
from tests.support.scenarios import HOST, host

ENGINE = {
    "version": "26.1.0",
    "api_version": "1.45",
    "storage_driver": "overlay2",
    "security": ["name=seccomp,profile=default"],
}
HEALTHY = Facts(
    python=(3, 11, 2),
    host=HOST,
    engine=ENGINE,
    images={"server": True, "swarm": True, "nettools": True},
    shaping={"netem": True, "nfqueue": True, "tbf": True, "why": {}},
    port_range=(32768, 60999),
    conntrack_used=10,
    disk_free_bytes={"results": 50 << 30},
    pool="198.18.0.0/15",
)


def rows(**changes):
    return {row.name: row for row in examine(replace(HEALTHY, **changes))}


def test_a_healthy_host_has_nothing_to_mend():
    found = examine(HEALTHY)
    assert worst(found) == "ok"
    assert not [row.name for row in found if row.do]
    assert len({row.name for row in found}) == len(found) >= 12


FAULTS = [
    ("python", "bad", {"python": (3, 9, 1)}),
    ("local runtime", "warn", {"swarm_imports": False}),
    ("engine", "bad", {"engine": None}),
    ("engine", "bad", {"engine": {**ENGINE, "api_version": "1.40"}}),
    ("seccomp", "warn", {"engine": {**ENGINE, "security": []}}),
    ("images", "warn", {"images": {"server": True, "swarm": False}}),
    ("cgroup", "bad", {"host": host(cgroup="none")}),
    ("links", "warn", {"shaping": None, "shaping_says": "not tested: no root"}),
    ("links", "warn", {"shaping": {"netem": False, "nfqueue": True, "tbf": True, "why": {}}}),
    ("links", "bad", {"shaping": {"netem": False, "nfqueue": False, "tbf": True, "why": {}}}),
    ("link rate", "warn", {"shaping": {"netem": True, "tbf": False, "why": {}}}),
    (
        "io_uring",
        "warn",
        {"io_uring_says": "io_uring_setup: Operation not permitted", "io_uring_disabled": 2},
    ),
    ("system calls", "warn", {"syscalls_says": "bpf(2): Operation not permitted"}),
    ("descriptors", "warn", {"host": host(nofile_hard=4096)}),
    ("threads", "warn", {"host": host(pid_max=4096)}),
    ("ports", "warn", {"port_range": (60000, 60999)}),
    ("conntrack", "warn", {"conntrack_used": 262_000}),
    ("cpus", "warn", {"host": host(cpus=(3,))}),
    ("memory", "warn", {"host": host(memory_available_bytes=2 << 30)}),
    ("memory", "bad", {"host": host(memory_available_bytes=1 << 29)}),
    ("disk: results", "warn", {"disk_free_bytes": {"results": 2 << 30}}),
    ("disk: results", "bad", {"disk_free_bytes": {"results": 1 << 20}}),
    ("network pool", "warn", {"pool_taken": ("198.18.0.0/16",)}),
    ("left-overs", "warn", {"left": ("20261123T000000Z-c10k-ab12",)}),
]


@pytest.mark.parametrize(("name", "level", "changes"), FAULTS)
def test_every_fault_is_found_and_says_what_to_run(name, level, changes):
    row = rows(**changes)[name]
    assert row.level == level
    assert row.means
    assert row.do
    assert [r.name for r in rows(**changes).values() if r.level != "ok"] == [name]


def test_what_no_command_mends_says_why_instead():
    row = rows(io_uring_says="io_uring_setup: Function not implemented")["io_uring"]
    assert (row.level, row.found, row.do) == ("warn", "io_uring_setup: Function not implemented", "")


@pytest.mark.parametrize(
    ("distribution", "command"),
    [("ubuntu", "apt-get"), ("rocky", "dnf"), ("arch", "sudo modprobe sch_netem")],
)
def test_a_missing_netem_is_mended_as_the_distribution_does(distribution, command):
    shaping = {"netem": False, "nfqueue": True, "tbf": True, "why": {}}
    assert command in rows(shaping=shaping, distribution=distribution)["links"].do


def test_an_engine_that_hangs_is_told_in_its_own_words():
    says = "the Docker engine at unix:///x does not answer as expected within 3 s: timed out"
    assert rows(engine=None, engine_says=says)["engine"].found == says


def test_it_reads_a_host_without_an_engine(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/absent.sock")
    monkeypatch.setenv("LAB_STATE_DIR", str(tmp_path))
    found = facts.read(tmp_path / "results", "198.18.0.0/15")
    assert found.engine is None
    assert found.images == {}
    assert (found.shaping is None) == bool(found.shaping_says)
    assert found.disk_free_bytes["results"] > 0
    json.dumps([row.to_json() for row in examine(found)])


ROUTES = """\
Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT
eth0 00000000 010011AC 0003 0 0 0 00000000 0 0 0
br-1 000112C6 00000000 0001 0 0 0 00FFFFFF 0 0 0
tun0 000012C6 00000000 0001 0 0 0 0000FFFF 0 0 0
eth0 000011AC 00000000 0001 0 0 0 0000FFFF 0 0 0
"""


def test_foreign_routes_in_the_pool_are_seen_and_the_labs_own_are_not():
    assert facts._taken("198.18.0.0/15", ROUTES) == ("198.18.0.0/16",)
