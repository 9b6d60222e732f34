"""The docker runtime: every node is a container, every network an internal bridge of its own.

Everything is written into the journal before it is created, so that this process, its watchdog or the next
command can remove it.
"""

from __future__ import annotations

import itertools
import os
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker.types

from lab.common import proc, scheduling
from lab.common.errors import HostCannot, LabError, NoMeasurement
from lab.common.owner import Owner, labels
from lab.common.scheduling import Budget
from lab.engine.api import Engine, EngineLost, address
from lab.plan.render import Addressing
from lab.plan.topology import Network, Node, Topology
from lab.runtime import Deployment, ExecResult, NodeExit, cleanup, docker_spec, realtime
from lab.runtime.container import END_S, Container
from lab.runtime.journal import Journal
from lab.runtime.node_log import LoggedDeployment
from lab.runtime.watchdog import Watchdog

POOL = "198.18.0.0/15"  # reserved for benchmarks by RFC 2544
LIFETIME_S = 24 * 3600.0
HELPER_READY_S = 10.0
SUBNET_TRIES = 50
USUAL_GROUP = "/docker/container"  # the usual place of a container among control groups


@dataclass
class RealTimeLimit:
    """Whether containers get a limit `rtprio` of 1, and why the engine `refused` to set one."""

    wanted: bool
    refused: str = ""


class DockerRuntime:
    """Starts topologies on one engine. `images` maps server, swarm and nettools to tags."""

    name = "docker"
    isolated = True
    nodes_are_children = False
    own_images_only = False
    limits = frozenset({"cpus", "memory", "nofile", "pids"})

    def __init__(self, client: Any, images: Mapping[str, str], pool: str = POOL) -> None:
        self._engine = Engine(client.api)
        self._client = client
        self._images = images
        self._pool = pool
        # Where a group needs a budget first, the limit alone permits nothing.
        self.rtprio = RealTimeLimit(wanted=not realtime.needs_budget())

    def real_time_expected(self) -> bool:
        """See Runtime."""
        if realtime.needs_budget():
            return realtime.why_no_budget(USUAL_GROUP) is None
        return self.rtprio.wanted or os.geteuid() == 0

    def addressing(self, folder: Path) -> Addressing:
        """See Runtime: containers find each other by name."""
        return Addressing()

    @contextmanager
    def up(self, topology: Topology, logs: Path) -> Iterator[Deployment]:
        """See Runtime. Raises NoMeasurement, HostCannot or UsageError after removing what was made."""
        owner = Owner.myself()
        journal = Journal(topology.run, owner)
        watchdog = Watchdog(topology.run, address(self._engine.api))
        deployment = DockerDeployment(self._engine, self._images, topology, logs, journal, owner, self.rtprio)
        try:
            deployment.make(self._pool)
            yield deployment
        except EngineLost as error:
            error.add_note("the next lab command removes what is left, once the engine answers again")
            raise
        except BaseException as error:
            try:
                deployment.remove()
            except LabError as second:
                error.add_note(str(second))  # the first error is the cause: never hide it
            raise
        else:
            deployment.remove()
        finally:
            deployment.close()
            if deployment.removed:
                watchdog.dismiss()  # otherwise it stays, and removes the rest when this process ends
        deployment._raise_callback_errors()


class DockerDeployment(LoggedDeployment):
    """Running containers. See Deployment."""

    runtime = "docker"
    isolated = True
    stamps: tuple[str, ...] = ()

    def __init__(
        self,
        engine: Engine,
        images: Mapping[str, str],
        topology: Topology,
        logs: Path,
        journal: Journal,
        owner: Owner,
        rtprio: RealTimeLimit,
    ) -> None:
        super().__init__(logs)
        self._engine = engine
        self._images = images
        self._topology = topology
        self._journal = journal
        self._labels = labels(topology.run, topology.trial, owner, LIFETIME_S)
        self._seccomp = docker_spec.seccomp_profile(topology.io_uring)
        self._networks: dict[str, Network] = {}
        self._containers: dict[str, Container] = {}
        self._helper_lock = threading.Lock()
        self._rtprio = rtprio
        self._real_time = realtime.RealTimeGroup(self._named("real-time"), journal)
        self.removed = False

    def make(self, pool: str) -> None:
        """Create the networks, then create and start the nodes in order."""
        for network in self._topology.networks:
            self._networks[network.name] = self._make_network(network, pool)
        for node in self._topology.nodes:
            self._start(node)

    def _make_network(self, network: Network, pool: str) -> Network:
        name = self._named(network.name)
        self._journal.will("network", name)
        for subnet in [network.subnet] if network.subnet else self._free_subnets(pool):
            ipam = docker.types.IPAMConfig(pool_configs=[docker.types.IPAMPool(subnet=subnet)])
            settings = {"driver": "bridge", "internal": True, "ipam": ipam, "labels": self._labels}
            try:
                self._engine.call(f"create network {name}", self._engine.api.create_network, name, **settings)
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
        return itertools.islice(docker_spec.free_subnets(pool, in_use + routes, start), SUBNET_TRIES)

    def _start(self, node: Node) -> None:
        """Create and start a node: without a limit `rtprio` if the engine cannot set one."""
        if node.real_time and self._rtprio.wanted:
            try:
                self._create(node, rtprio=True)
            except LabError as error:
                if "rlimit" not in str(error):
                    raise
                self._rtprio.wanted, self._rtprio.refused = False, str(error)
                self._containers.pop(node.name).discard()
            else:
                return
        self._create(node, rtprio=False)

    def _create(self, node: Node, rtprio: bool) -> None:
        networks = [] if node.joins else [self._named(network) for network in node.networks]
        mode = f"container:{self._container(node.joins).id}" if node.joins else (networks or ["none"])[0]
        image = self._images.get(node.image, node.image)
        place = docker_spec.Place(self._named(node.name), image, mode, self._labels, self._seccomp, rtprio)
        api = self._engine.api
        host = api.create_host_config(**docker_spec.host_config(node, place))
        spec = docker_spec.container_config(node, place, host)
        if networks:
            endpoint = api.create_endpoint_config(aliases=[node.name])
            spec["networking_config"] = api.create_networking_config({networks[0]: endpoint})
        self._journal.will("container", place.container)
        container = self._containers[node.name] = Container(self._engine, node.name, place.container)
        container.create(spec, networks[1:])
        container.run(self._open_log(node.name))

    def nodes(self) -> list[str]:
        """See Deployment."""
        return list(self._containers)

    def address(self, node: str, network: str) -> str:
        """See Deployment."""
        found = self._container(node).addresses.get(self._named(network))
        if not found:
            raise NoMeasurement(f"{node} has no address on network '{network}'")
        return found

    def interface(self, node: str, network: str) -> str | None:
        """See Deployment. Found by the route to the network's subnet, inside the node's namespace."""
        if network not in self._networks:
            raise NoMeasurement(f"no network '{network}' in this trial")
        key = docker_spec.route_key(self._networks[network].subnet)
        pids = self.pids(node)
        if pids and (found := proc.interface_to(pids[0], key)):
            return found
        table = self.exec(node, ["cat", "/proc/net/route"], END_S)
        return proc.route_interface(table.out, key)

    def helper(self, node: str) -> str:
        """See Deployment."""
        name = f"net-{node}"
        with self._helper_lock:
            if name not in self._containers:
                real_time = self._topology.real_time
                argv = ("python", "-m", "nettools", "agent", *(["--real-time"] if real_time else []))
                cpus = self._topology.helper_cpu_set
                able = ("NET_ADMIN", "NET_RAW") if self._topology.helper_raw else ("NET_ADMIN",)
                self._start(
                    Node(
                        name,
                        "nettools",
                        "nettools",
                        argv=argv,
                        joins=node,
                        cpu_set=cpus,
                        capabilities=able,
                        real_time=real_time,
                    )
                )
                self.wait_event(name, "ready", HELPER_READY_S)
        return name

    def pids(self, node: str) -> list[int]:
        """See Deployment."""
        return self._container(node).pids()

    def host_pid(self, node: str, pid: int) -> int | None:
        """See Deployment."""
        return next((one for one in self.pids(node) if proc.namespace_pid(one) == pid), None)

    def make_real_time(self, node: str, pid: int) -> Budget:
        """See Deployment: from outside, which takes root; a budget of its own where the kernel wants one."""
        try:
            group = proc.cpu_group(pid)
            if group is not None and realtime.needs_budget():
                return self._real_time.add(pid, group)
            scheduling.make_real_time(pid)
        except (HostCannot, OSError) as error:
            reasons = [
                f"sched_setscheduler(2): {error.strerror}" if isinstance(error, OSError) else str(error)
            ]
            reasons += [f"no limit rtprio: {self._rtprio.refused}"] if self._rtprio.refused else []
            raise HostCannot("; ".join(reasons)) from error
        return scheduling.kernel_budget()

    def cgroup(self, node: str) -> str | None:
        """See Deployment."""
        return self._container(node).cgroup()

    def exec(self, node: str, argv: Sequence[str], deadline_s: float) -> ExecResult:
        """See Deployment."""
        return self._container(node).exec(argv, deadline_s)

    def signal(self, node: str, name: str) -> None:
        """See Deployment."""
        self._container(node).signal(name)

    def pause(self, node: str) -> None:
        """See Deployment."""
        self._container(node).pause()

    def unpause(self, node: str) -> None:
        """See Deployment."""
        self._container(node).unpause()

    def limit(self, node: str, cpus: float | None, memory_bytes: int | None) -> Callable[[], None]:
        """See Deployment."""
        return self._container(node).limit(cpus, memory_bytes)

    def stop(self, node: str, grace_s: float) -> NodeExit:
        """See Deployment."""
        return self._container(node).stop(grace_s)

    def remove(self) -> None:
        """Kill and remove everything, and read the rest of the logs."""
        with ThreadPoolExecutor(8, "remove") as pool:
            list(pool.map(Container.end, self._containers.values()))
        cleanup.remove_labelled(self._engine, self._topology.run, self._topology.trial)
        self._real_time.remove()
        self.removed = True

    def close(self) -> None:
        """Close the output streams and the journal."""
        for container in self._containers.values():
            container.close()
        self._journal.close(self.removed)

    def _named(self, part: str) -> str:
        return docker_spec.container_name(self._topology, part)

    def _container(self, node: str) -> Container:
        if node not in self._containers:
            raise NoMeasurement(f"no node '{node}' here; there are: {', '.join(self._containers) or 'none'}")
        return self._containers[node]
