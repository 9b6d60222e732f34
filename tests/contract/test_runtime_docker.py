"""What containers promise beyond the runtime's contract: locked down, on networks of their own, labelled."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.common import proc
from lab.common.errors import HostCannot, NoMeasurement, UsageError
from lab.common.owner import DEADLINE, OWNER, RUN, TRIAL, Owner
from lab.plan.topology import CONTROL, DATA, Network, Node, NodeLimits, Topology
from lab.runtime import Deployment
from lab.runtime.docker import DockerRuntime, RealTimeLimit
from tests.support.runtimes import docker_client, docker_runtime, run_id, until

pytestmark = pytest.mark.docker

IDLE = ("python", "-c", 'import time; print(\'{"event": "ready"}\', flush=True); time.sleep(600)')
STATUS = "print(open('/proc/self/status').read())"


def idle(name: str, **more: Any) -> Node:
    return Node(name, **{"role": "server", "image": "server", "argv": IDLE, "networks": (DATA,), **more})


def topology(*nodes: Node, **more: Any) -> Topology:
    return Topology(run_id(), "trial-1", nodes, (Network(CONTROL), Network(DATA)), **more)


@pytest.fixture(scope="module")
def runtime() -> Iterator[DockerRuntime]:
    with docker_runtime("server", "nettools") as one:
        yield one


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_STATE_DIR", str(tmp_path / "state"))


def status(deployment: Deployment, node: str) -> dict[str, str]:
    text = deployment.exec(node, ["python", "-c", STATUS], 10).out
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def test_a_node_may_ask_for_the_real_time_class_or_the_engine_says_why_not(
    runtime: DockerRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that may not raise limits refuses to start such a node: it starts without the limit."""
    monkeypatch.setattr(runtime, "rtprio", RealTimeLimit(wanted=True))
    code = "import resource; print(resource.getrlimit(resource.RLIMIT_RTPRIO))"
    with runtime.up(topology(idle("one", real_time=True), idle("two")), tmp_path / "logs") as deployment:
        deployment.wait_event("one", "ready", 10)
        limits = [deployment.exec(node, ["python", "-c", code], 10).out for node in ("one", "two")]
        says = None
        try:
            deployment.make_real_time("one", deployment.pids("one")[0])
        except HostCannot as error:
            says = str(error)
    assert limits[1] == "(0, 0)\n"
    if runtime.rtprio.refused:
        assert "rlimit" in runtime.rtprio.refused
        assert limits[0] == "(0, 0)\n"
        assert says is None or "no limit rtprio: " in says
    else:
        assert limits[0] == "(1, 1)\n"


def test_a_node_has_no_privilege_and_nothing_to_write_on(runtime: DockerRuntime, tmp_path: Path) -> None:
    with runtime.up(topology(idle("one")), tmp_path / "logs") as deployment:
        found = status(deployment, "one")
        write = "import sys\ntry: open(sys.argv[1], 'w')\nexcept OSError as error: print(error.errno)"
        read_only = deployment.exec("one", ["python", "-c", write, "/etc/new"], 10).out
        writable = deployment.exec("one", ["python", "-c", write, "/tmp/new"], 10)
        first = deployment.exec("one", ["cat", "/proc/1/comm"], 10).out
    assert {found[name].strip() for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert found["NoNewPrivs"] == "1"
    assert found["Seccomp"] == "2"
    assert found["Uid"].split() == ["10001"] * 4
    assert read_only == "30\n"  # EROFS
    assert (writable.code, writable.out) == (0, "")
    assert first in ("docker-init\n", "tini\n")


def test_limits_and_sysctls_are_the_nodes_own(runtime: DockerRuntime, tmp_path: Path) -> None:
    limits = NodeLimits(cpus=0.5, memory_bytes=256 * 1024**2, pids=64, nofile=1234)
    node = idle("one", limits=limits, sysctls={"net.core.somaxconn": "777"})
    run = topology(node)
    with runtime.up(run, tmp_path / "logs") as deployment, docker_client() as client:
        (found,) = client.containers.list(filters={"label": f"{RUN}={run.run}"})
        config = found.attrs["HostConfig"]
        somaxconn = deployment.exec("one", ["cat", "/proc/sys/net/core/somaxconn"], 10).out
    assert (config["Memory"], config["MemorySwap"]) == (256 * 1024**2, 256 * 1024**2)
    assert (config["CpuQuota"], config["CpuPeriod"], config["PidsLimit"]) == (50_000, 100_000, 64)
    assert config["Ulimits"] == [{"Name": "nofile", "Hard": 1234, "Soft": 1234}]
    assert (config["Privileged"], config["Binds"], config["PortBindings"]) == (False, None, None)
    assert config["RestartPolicy"]["Name"] == "no"
    assert somaxconn == "777\n"


def test_limits_can_be_changed_while_it_runs(runtime: DockerRuntime, tmp_path: Path) -> None:
    run = topology(idle("one", limits=NodeLimits(cpus=0.5, memory_bytes=256 * 1024**2)))
    with runtime.up(run, tmp_path / "logs") as deployment, docker_client() as client:
        (found,) = client.containers.list(filters={"label": f"{RUN}={run.run}"})
        limits = []
        restore = deployment.limit("one", 0.25, 128 * 1024**2)
        for change in (lambda: None, restore):
            change()
            found.reload()
            config = found.attrs["HostConfig"]
            limits.append((config["CpuQuota"], config["Memory"], config["MemorySwap"]))
    assert limits == [(25_000, 128 * 1024**2, 128 * 1024**2), (50_000, 256 * 1024**2, 256 * 1024**2)]


def test_a_node_without_a_cpu_limit_has_none_again_after_one(runtime: DockerRuntime, tmp_path: Path) -> None:
    with runtime.up(topology(idle("one")), tmp_path / "logs") as deployment:
        quota = ["cat", "/sys/fs/cgroup/cpu.max"]
        v1 = ["cat", "/sys/fs/cgroup/cpu/cpu.cfs_quota_us"]

        def cpu_quota() -> str:
            found = deployment.exec("one", quota, 10)
            return (found.out or deployment.exec("one", v1, 10).out).split()[0]

        first = cpu_quota()
        restore = deployment.limit("one", 0.25, None)
        assert cpu_quota() == "25000"
        restore()
        assert cpu_quota() == first
        assert first in ("max", "-1")


def test_networks_are_internal_cut_from_the_pool_and_know_names(
    runtime: DockerRuntime, tmp_path: Path
) -> None:
    run = topology(idle("one", networks=(CONTROL, DATA)), idle("two"))
    ask = "import socket; print(socket.gethostbyname('one'))"
    with runtime.up(run, tmp_path / "logs") as deployment, docker_client() as client:
        networks = client.networks.list(filters={"label": f"{RUN}={run.run}"})
        assert [network.attrs["Internal"] for network in networks] == [True, True]
        address = deployment.address("one", DATA)
        assert address.startswith("198.1")
        assert deployment.address("one", CONTROL) != address
        assert deployment.exec("two", ["python", "-c", ask], 10).out == f"{address}\n"
        # no way out: the other network's address is on this very host, and yet is not even refused
        across = f"import socket; socket.create_connection(({deployment.address('one', CONTROL)!r}, 9), 1)"
        assert "TimeoutError" in deployment.exec("two", ["python", "-c", across], 10).err
        with pytest.raises(NoMeasurement, match="two has no address on network 'control'"):
            deployment.address("two", CONTROL)


def test_interfaces_are_found_by_their_network(runtime: DockerRuntime, tmp_path: Path) -> None:
    with runtime.up(topology(idle("one", networks=(CONTROL, DATA))), tmp_path / "logs") as deployment:
        names = {network: deployment.interface("one", network) for network in (CONTROL, DATA)}
        assert set(names.values()) == {"eth0", "eth1"}
        for network, name in names.items():
            shown = deployment.exec("one", ["ip", "-4", "-j", "address", "show", "dev", str(name)], 10).out
            assert json.loads(shown)[0]["addr_info"][0]["local"] == deployment.address("one", network)


def test_a_helper_shares_the_namespace_and_holds_net_admin_alone(
    runtime: DockerRuntime, tmp_path: Path
) -> None:
    with runtime.up(topology(idle("one")), tmp_path / "logs") as deployment:
        name = deployment.helper("one")
        assert deployment.helper("one") == name
        interface = deployment.interface("one", DATA)
        shaped = deployment.exec(
            name, ["tc", "qdisc", "add", "dev", str(interface), "root", "pfifo", "limit", "7"], 10
        )
        assert shaped.code == 0, shaped.err
        assert "limit 7p" in deployment.exec("one", ["tc", "qdisc", "show", "dev", str(interface)], 10).out
        found = status(deployment, name)
        assert int(found["CapBnd"], 16) == 1 << 12  # CAP_NET_ADMIN
        denied = deployment.exec("one", ["tc", "qdisc", "del", "dev", str(interface), "root"], 10)
        assert denied.code != 0


@pytest.mark.parametrize("wanted", [False, True])
def test_io_uring_is_there_only_when_a_model_needs_it(
    runtime: DockerRuntime, tmp_path: Path, wanted: bool
) -> None:
    # io_uring_setup(2) with a null argument: EFAULT where the call may be made, EPERM where it is forbidden.
    ask = "import ctypes as t; t.CDLL(None, use_errno=True).syscall(425, 1, None); print(t.get_errno())"
    with runtime.up(topology(idle("one"), io_uring=wanted), tmp_path / "logs") as deployment:
        assert deployment.exec("one", ["python", "-c", ask], 10).out == ("14\n" if wanted else "1\n")


@pytest.mark.parametrize(
    ("call", "errno"),
    [("unshare(0x10000000)", 1), ("mount(None, None, None, 0, None)", 1), ("ptrace(0, 0, 0, 0)", 1)],
)
def test_seccomp_forbids_what_no_node_needs(
    runtime: DockerRuntime, tmp_path: Path, call: str, errno: int
) -> None:
    ask = f"import ctypes; c = ctypes.CDLL(None, use_errno=True); c.{call}; print(ctypes.get_errno())"
    with runtime.up(topology(idle("one")), tmp_path / "logs") as deployment:
        assert deployment.exec("one", ["python", "-c", ask], 10).out == f"{errno}\n"


def test_everything_carries_its_run_its_trial_its_owner_and_a_deadline(
    runtime: DockerRuntime, tmp_path: Path
) -> None:
    run = topology(idle("one"))
    with runtime.up(run, tmp_path / "logs"), docker_client() as client:
        filters = {"label": f"{RUN}={run.run}"}
        carried = [c.labels for c in client.containers.list(filters=filters)]
        carried += [n.attrs["Labels"] for n in client.networks.list(filters=filters)]
    assert len(carried) == 3
    for labels in carried:
        assert (labels[RUN], labels[TRIAL], labels[OWNER]) == (run.run, "trial-1", str(Owner.myself()))
        assert labels[DEADLINE].isdigit()


def test_it_is_written_down_before_it_is_made(runtime: DockerRuntime, tmp_path: Path) -> None:
    run = topology(idle("one"))
    with runtime.up(run, tmp_path / "logs"):
        (journal,) = (tmp_path / "state/journal").glob(f"{run.run}.*.jsonl")
        entries = [json.loads(line) for line in journal.read_text().splitlines()]
    assert entries[0]["run"] == run.run
    assert [entry["name"].rpartition("-")[2] for entry in entries[1:]] == ["control", "data", "one"]
    assert not journal.exists()


def test_a_node_out_of_memory_is_told_as_such(runtime: DockerRuntime, tmp_path: Path) -> None:
    eat = ("python", "-c", "x = []\nwhile True: x.append(bytearray(b'x' * 1_000_000))")
    node = idle("one", argv=eat, limits=NodeLimits(memory_bytes=64 * 1024**2))
    with runtime.up(topology(node), tmp_path / "logs") as deployment:
        until(lambda: deployment.exited("one") is not None, 10)
        exit_ = deployment.exited("one")
    assert exit_ is not None
    assert (exit_.signal, exit_.oom) == ("SIGKILL", True)


def test_an_image_that_is_not_there_is_named(runtime: DockerRuntime, tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match="one: no image 'nobody/none:1' here"),
        runtime.up(topology(idle("one", image="nobody/none:1")), tmp_path / "logs"),
    ):
        pytest.fail("it started")


def test_a_command_that_is_not_there_is_named(runtime: DockerRuntime, tmp_path: Path) -> None:
    node = idle("one", argv=("no-such-command",))
    with (
        runtime.up(topology(node), tmp_path / "logs") as deployment,
        pytest.raises(
            NoMeasurement, match=r"one: ended with exit code 127 before 'ready'(.|\n)*no-such-command"
        ),
    ):
        deployment.wait_event("one", "ready", 10)


def test_a_sysctl_that_no_container_may_set_is_the_hosts_fault(
    runtime: DockerRuntime, tmp_path: Path
) -> None:
    with (
        pytest.raises(HostCannot, match="sysctl"),
        runtime.up(topology(idle("one", sysctls={"vm.swappiness": "1"})), tmp_path / "logs"),
    ):
        pytest.fail("it started")


def test_a_used_up_pool_is_told(runtime: DockerRuntime, tmp_path: Path) -> None:
    with docker_client() as client:
        small = DockerRuntime(client, {"server": "unused"}, pool="198.19.255.0/24")
        with (
            pytest.raises(HostCannot, match=r"no free /24 is left in the network pool 198\.19\.255\.0/24"),
            small.up(topology(idle("one")), tmp_path / "logs"),
        ):
            pytest.fail("two networks from one /24")


def test_the_processes_are_gone_afterwards(runtime: DockerRuntime, tmp_path: Path) -> None:
    with runtime.up(topology(idle("one")), tmp_path / "logs") as deployment:
        deployment.wait_event("one", "ready", 10)
        pids = deployment.pids("one")
        assert len(pids) == 1
    assert [proc.start_ticks(pid) for pid in pids] == [None]
