"""The docker runtime: every node is a container, every network an internal bridge of its own.

Create, journal, start and remove are separate steps: what exists is always written down, so that it can be
removed by this process, by its watchdog, or by the next command.
"""

from __future__ import annotations

import itertools
import threading
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker.errors
import docker.types

from lab.errors import HostCannot, LabError, NoMeasurement, UsageError
from lab.runtime import Deployment, ExecResult, NodeExit, cleanup, docker_spec, procfs
from lab.runtime.api import Engine, EngineLost, Stream, address
from lab.runtime.journal import Journal
from lab.runtime.lines import Lines, Printed
from lab.runtime.owner import Owner, labels
from lab.runtime.watchdog import Watchdog
from lab.topology import Network, Node, Topology

POOL = "198.18.0.0/15"  # set aside for benchmarks by RFC 2544
LIFETIME_S = 24 * 3600.0
END_S = 5.0
CPU_PERIOD_US = 100_000
HELPER_READY_S = 10.0
SIGNALS = {
    137: "SIGKILL",
    143: "SIGTERM",
    139: "SIGSEGV",
    134: "SIGABRT",
    135: "SIGBUS",
    132: "SIGILL",
    136: "SIGFPE",
}


class DockerRuntime:
    """Starts topologies on one engine. `images` maps server, swarm and nettools to tags."""

    name = "docker"

    def __init__(self, client: Any, images: Mapping[str, str], pool: str = POOL) -> None:
        self._engine = Engine(client.api)
        self._client = client
        self._images = images
        self._pool = pool

    @contextmanager
    def up(self, topology: Topology, logs: Path) -> Iterator[Deployment]:
        """See Runtime. Raises NoMeasurement, HostCannot or UsageError; what was made by then is removed."""
        owner = Owner.myself()
        journal = Journal(topology.run, owner)
        watchdog = Watchdog(topology.run, engine=address(self._engine.api))
        deployment = DockerDeployment(self._engine, self._images, topology, logs, journal, owner)
        try:
            deployment.make(self._pool)
            yield deployment
        except EngineLost as error:
            error.add_note("what is left is removed when the engine answers again: by the next lab command")
            raise
        except BaseException as error:
            try:
                deployment.remove()
            except LabError as second:
                error.add_note(str(second))  # the first error is the cause: never mask it
            raise
        else:
            deployment.remove()
        finally:
            deployment.close()
            if deployment.gone:
                watchdog.dismiss()  # else it stays, and clears away when this process ends
        deployment._raise_callback_errors()


class DockerDeployment(Printed):
    """Running containers. See Deployment."""

    runtime = "docker"
    stamps: tuple[str, ...] = ()

    def __init__(
        self,
        engine: Engine,
        images: Mapping[str, str],
        topology: Topology,
        logs: Path,
        journal: Journal,
        owner: Owner,
    ) -> None:
        super().__init__(logs)
        self._engine = engine
        self._images = images
        self._topology = topology
        self._journal = journal
        self._labels = labels(topology.run, topology.trial, owner, LIFETIME_S)
        self._seccomp = docker_spec.seccomp_profile(topology.io_uring)
        self._networks: dict[str, Network] = {}
        self._containers: dict[str, _Container] = {}
        self._helpers = threading.Lock()
        self.gone = False

    # -- making ------------------------------------------------------------------------------------------

    def make(self, pool: str) -> None:
        """Create the networks, then create and start the nodes in order."""
        for network in self._topology.networks:
            self._networks[network.name] = self._make_network(network, pool)
        for node in self._topology.nodes:
            self._start(node)

    def _make_network(self, network: Network, pool: str) -> Network:
        name = docker_spec.container_name(self._topology, network.name)
        self._journal.will("network", name)
        for subnet in [network.subnet] if network.subnet else self._free_subnets(pool):
            pools = docker.types.IPAMPool(subnet=subnet)
            try:
                self._engine.call(
                    f"create network {name}",
                    self._engine.api.create_network,
                    name,
                    driver="bridge",
                    internal=True,
                    ipam=docker.types.IPAMConfig(pool_configs=[pools]),
                    labels=self._labels,
                )
                return Network(network.name, subnet)
            except LabError as error:
                if network.subnet or "overlap" not in str(error):
                    raise
        raise HostCannot(f"no free /24 is left in the network pool {pool}: remove unused Docker networks")

    def _free_subnets(self, pool: str) -> Iterator[str]:
        networks = self._engine.call("list networks", self._engine.api.networks)
        configs = itertools.chain.from_iterable(one["IPAM"].get("Config") or [] for one in networks)
        in_use = [config["Subnet"] for config in configs if "Subnet" in config]
        routes = docker_spec.host_routes(Path("/proc/net/route").read_text())
        start = zlib.crc32(self._topology.run.encode())
        return itertools.islice(docker_spec.free_subnets(pool, in_use + routes, start), 50)

    def _start(self, node: Node) -> None:
        name = docker_spec.container_name(self._topology, node.name)
        modes = [docker_spec.container_name(self._topology, network) for network in node.networks]
        mode = f"container:{self._of_container(node.joins).id}" if node.joins else (modes or ["none"])[0]
        image = self._images.get(node.image, node.image)
        place = docker_spec.Place(name, image, mode, self._labels, self._seccomp)
        api = self._engine.api
        spec = docker_spec.container_config(
            node, place, api.create_host_config(**docker_spec.host_config(node, place))
        )
        endpoint = api.create_endpoint_config(aliases=[node.name])
        if modes and not node.joins:
            spec["networking_config"] = api.create_networking_config({modes[0]: endpoint})
        self._journal.will("container", name)
        container = self._containers[node.name] = _Container(name)
        container.id = self._created(node, spec)
        for other in modes[1:]:
            what = f"connect {node.name} to {other}"
            self._engine.call(
                what, api.connect_container_to_network, container.id, other, aliases=[node.name]
            )
        self._run(node, container)

    def _created(self, node: Node, spec: Mapping[str, Any]) -> str:
        try:
            answer = self._engine.call(
                f"create {node.name}", self._engine.api.create_container, may=(404,), **spec
            )
        except docker.errors.NotFound as error:
            raise UsageError(
                f"{node.name}: no image '{spec['image']}' here ({error.explanation}): build or load it"
            ) from error
        return str(answer["Id"])

    def _run(self, node: Node, container: _Container) -> None:
        """Attach, then start: so nothing that the node prints is missed, however short it lives."""
        api = self._engine.api
        params = {"stdout": 1, "stderr": 1, "stream": 1}
        stream = Stream(self._engine.call(f"attach to {node.name}", api.attach_socket, container.id, params))
        lines = self._listen(node.name)
        threading.Thread(
            target=self._follow, args=(container, stream, lines), name=f"follow {node.name}", daemon=True
        ).start()
        container.stream = stream
        self._engine.call(f"start {node.name}", api.start, container.id)
        state = self._inspect(node.name)
        container.pid = int(state["State"]["Pid"])
        container.addresses = {
            network: found["IPAddress"] for network, found in state["NetworkSettings"]["Networks"].items()
        }

    def _follow(self, container: _Container, stream: Stream, lines: Lines) -> None:
        """Feed the node's output until it ends, then ask how it ended."""
        lost: str | None = None
        try:
            for number, data in stream.frames():
                lines.feed(number, data)
        except (OSError, ValueError, LabError) as error:
            lost = f"its output broke off: {error}"
        try:
            lines.end(self._exit_of(container), lost)
        except LabError as error:
            lines.end(None, str(error))

    def _exit_of(self, container: _Container) -> NodeExit | None:
        """How a container ended whose output did; None when it has not within `END_S`."""
        until = time.monotonic() + END_S
        while time.monotonic() < until:
            what = f"inspect {container.name}"
            state = self._engine.call(what, self._engine.api.inspect_container, container.id)["State"]
            if state["Status"] in ("exited", "dead"):
                code = int(state["ExitCode"])
                return NodeExit(code, SIGNALS.get(code), bool(state["OOMKilled"]))
            time.sleep(0.02)
        return None

    # -- asking ------------------------------------------------------------------------------------------

    def address(self, node: str, network: str) -> str:
        """See Deployment."""
        container = self._of_container(node)
        found = container.addresses.get(docker_spec.container_name(self._topology, network))
        if not found:
            raise NoMeasurement(f"{node} has no address on network '{network}'")
        return found

    def interface(self, node: str, network: str) -> str | None:
        """See Deployment. Found by the route to the network's subnet, inside the node's namespace."""
        if network not in self._networks:
            raise NoMeasurement(f"no network '{network}' in this trial")
        key = docker_spec.route_key(self._networks[network].subnet)
        pids = self.pids(node)
        if pids and (found := procfs.interface_to(pids[0], key)):
            return found
        table = self.exec(node, ["cat", "/proc/net/route"], END_S)
        return procfs.route_interface(table.out, key)

    def limit(self, node: str, cpus: float | None, memory_bytes: int | None) -> None:
        """See Deployment. A CPU limit is a quota of each 100 ms (cgroups(7), CFS bandwidth)."""
        settings: dict[str, Any] = {}
        if cpus is not None:
            settings |= {"cpu_period": CPU_PERIOD_US, "cpu_quota": round(cpus * CPU_PERIOD_US)}
        if memory_bytes is not None:
            settings |= {"mem_limit": memory_bytes, "memswap_limit": memory_bytes}
        update = self._engine.api.update_container
        self._engine.call(f"limit {node}", update, self._id(node), **settings)

    def pids(self, node: str) -> list[int]:
        """See Deployment. Seen where the engine runs on this host and in this pid namespace."""
        container = self._of_container(node)
        group = procfs.cgroup_path(container.pid) if container.pid else None
        if group is None or container.id not in group:
            return []
        return [pid for pid in procfs.cgroup_pids(group) if pid != container.pid]  # that one is the init

    def cgroup(self, node: str) -> str | None:
        """See Deployment."""
        container = self._of_container(node)
        group = procfs.cgroup_path(container.pid) if container.pid else None
        return group if group and container.id in group else None

    # -- doing -------------------------------------------------------------------------------------------

    def exec(self, node: str, argv: Sequence[str], deadline_s: float) -> ExecResult:
        """See Deployment. A command that outlives the deadline goes on until its container is removed."""
        until = time.monotonic() + deadline_s
        api, id_ = self._engine.api, self._of_container(node).id
        what = f"run {argv[0]} in {node}"
        made = self._engine.call(what, api.exec_create, id_, list(argv))
        stream = Stream(self._engine.call(what, api.exec_start, made["Id"], socket=True))
        printed = {1: b"", 2: b""}
        try:
            for number, data in stream.frames(until):
                printed[number] += data
        except TimeoutError:
            raise NoMeasurement(f"{node}: {argv[0]} did not end within {deadline_s:g} s") from None
        finally:
            stream.close()
        code = self._engine.call(what, api.exec_inspect, made["Id"])["ExitCode"]
        out, err = (text.decode("utf-8", "replace") for text in printed.values())
        return ExecResult(int(code), out, err)

    def helper(self, node: str) -> str:
        """See Deployment."""
        name = f"net-{node}"
        with self._helpers:
            if name not in self._containers:
                argv = ("python", "-m", "nettools", "agent")
                cpus = self._topology.helper_cpu_set
                self._start(Node(name, "nettools", "nettools", argv=argv, joins=node, cpu_set=cpus))
                self.wait_event(name, "ready", HELPER_READY_S)
        return name

    def signal(self, node: str, name: str) -> None:
        """See Deployment. The init forwards it to the node; it cannot forward SIGSTOP: see pause."""
        if name == "SIGSTOP":
            raise UsageError("SIGSTOP would stop the container's init only: pause the node instead")
        self._engine.call(f"send {name} to {node}", self._engine.api.kill, self._id(node), name)

    def pause(self, node: str) -> None:
        """See Deployment: the cgroup freezer stops all at once."""
        self._engine.call(f"pause {node}", self._engine.api.pause, self._id(node))
        self._of_container(node).paused = True

    def unpause(self, node: str) -> None:
        """See Deployment."""
        self._engine.call(f"unpause {node}", self._engine.api.unpause, self._id(node))
        self._of_container(node).paused = False

    def stop(self, node: str, grace_s: float) -> NodeExit:
        """See Deployment."""
        lines = self._of(node)
        if not lines.ended:
            if self._of_container(node).paused:
                self.unpause(node)
            self._kill(node, "SIGTERM")
            if not lines.wait_end(grace_s):
                self._kill(node, "SIGKILL")
        if not lines.wait_end(END_S):
            raise NoMeasurement(f"{node}: still there {END_S:g} s after SIGKILL")
        exit_ = lines.exited()
        if exit_ is None:
            raise NoMeasurement(f"{node}: the engine cannot say how it ended")
        return exit_

    def remove(self) -> None:
        """Kill and remove all, and take in the rest of the logs."""
        with ThreadPoolExecutor(8, "remove") as pool:
            list(pool.map(self._end, list(self._containers)))
        cleanup.remove_labelled(self._engine, self._topology.run, self._topology.trial)
        self.gone = True

    def close(self) -> None:
        """Let go of the engine: no more output, no more journal."""
        for container in self._containers.values():
            if container.stream:
                container.stream.close()
        self._journal.close(self.gone)

    def _end(self, node: str) -> None:
        """Kill the node if it runs, and wait for the last of its output."""
        lines = self._lines.get(node)
        if lines and not lines.ended and self._containers[node].pid:
            self._kill(node, "SIGKILL")
            lines.wait_end(END_S)

    def _kill(self, node: str, name: str) -> None:
        try:
            self._engine.call(
                f"send {name} to {node}", self._engine.api.kill, self._id(node), name, may=(404, 409)
            )
        except docker.errors.APIError:
            return  # it ended just now

    def _inspect(self, node: str) -> dict[str, Any]:
        found: dict[str, Any] = self._engine.call(
            f"inspect {node}", self._engine.api.inspect_container, self._id(node)
        )
        return found

    def _of_container(self, node: str) -> _Container:
        if node not in self._containers:
            raise NoMeasurement(f"no node '{node}' here; there are: {', '.join(self._containers) or 'none'}")
        return self._containers[node]

    def _id(self, node: str) -> str:
        return self._of_container(node).id


class _Container:
    """A container as far as it has come into being."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.id = name  # the engine takes names too: the id is not known before the answer to create
        self.pid = 0
        self.paused = False
        self.addresses: dict[str, str] = {}
        self.stream: Stream | None = None
