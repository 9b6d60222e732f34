"""The topology of one trial: its nodes and networks, as data. A runtime starts it as a deployment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from lab.plan.node_settings import NodeSettings

Role = Literal["server", "master", "worker", "nettools"]
CONTROL, DATA = "control", "data"
# Of a container whose node sets none, so that a runaway one cannot harm the host.
DEFAULT_MEMORY_BYTES = 4 << 30


@dataclass(frozen=True)
class NodeLimits:
    """The resource limits of a node. None: none is asked for, and the runtime may set its default."""

    cpus: float | None = None
    memory_bytes: int | None = None
    pids: int | None = None
    nofile: int | None = None


@dataclass(frozen=True)
class Node:
    """One node: a container, or a plain process in the local runtime.

    `image` names a lab-built image (server, swarm, nettools) or a reference given by the scenario. An empty
    `argv` runs the image's own command. `cpu_set` is a Linux CPU list such as "0" or "1,3"; empty means all.
    `joins` names a running node whose network namespace this one shares; then `networks` is empty. With
    `real_time` its processes may ask for the real-time class themselves, where the host permits that.
    """

    name: str
    role: Role
    image: str
    argv: tuple[str, ...] = ()
    settings: NodeSettings | None = None
    networks: tuple[str, ...] = ()
    cpu_set: str = ""
    limits: NodeLimits = NodeLimits()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    joins: str | None = None
    capabilities: tuple[str, ...] = ()
    real_time: bool = False

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of the node's process."""
        return dict(self.settings.environment()) if self.settings else {}


@dataclass(frozen=True)
class Network:
    """An internal network. If `subnet` is empty, the runtime takes one from its pool."""

    name: str
    subnet: str = ""


@dataclass(frozen=True)
class Topology:
    """The nodes and networks of one trial. Nodes start in the given order.

    `helper_cpu_set` holds the CPUs of the helpers that join a node's network namespace: not the CPUs of the
    server. With `helper_raw` they have CAP_NET_RAW and can send packets, for links that duplicate. With
    `real_time` engines and delay lines are to run in the real-time class.
    """

    run: str
    trial: str
    nodes: tuple[Node, ...]
    networks: tuple[Network, ...]
    io_uring: bool = False
    helper_cpu_set: str = ""
    helper_raw: bool = False
    real_time: bool = False

    def node(self, name: str) -> Node:
        """Return the node of that name. Raises KeyError."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)

    def to_json(self) -> dict[str, object]:
        """Return the data for topology.json."""
        return {**asdict(self), "nodes": [_node_json(node) for node in self.nodes]}


def _node_json(node: Node) -> dict[str, object]:
    """Return the data of a node, with its environment in place of its settings."""
    data = asdict(replace(node, settings=None))
    del data["settings"]
    return {**data, "env": node.environment}
