"""Topology: the nodes and networks of one trial, as data. A runtime turns it into a running deployment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from lab.plan.node_settings import NodeSettings

Role = Literal["server", "master", "worker", "nettools"]
CONTROL, DATA = "control", "data"


@dataclass(frozen=True)
class NodeLimits:
    """What a node may use. None means that the runtime sets no limit (and the record says so)."""

    cpus: float | None = None
    memory_bytes: int | None = None
    pids: int | None = None
    nofile: int | None = None


@dataclass(frozen=True)
class Node:
    """One process group: a container, or a plain process in the local runtime.

    `image` names a lab-built image (server, swarm, nettools) or a reference given by the scenario. An empty
    `argv` runs the image's own command. `cpu_set` is a Linux CPU list such as "0" or "1,3"; empty means all.
    `joins` names a running node whose network namespace this one shares; then `networks` is empty.
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

    @property
    def environment(self) -> dict[str, str]:
        """Its settings as the environment variables that a runtime gives to it."""
        return dict(self.settings.environment()) if self.settings else {}


@dataclass(frozen=True)
class Network:
    """An internal network. `subnet` is filled in by the runtime from its pool where it is empty."""

    name: str
    subnet: str = ""


@dataclass(frozen=True)
class Topology:
    """Everything that one trial needs to be up. Nodes start in the order given.

    `helper_cpu_set` is where the helpers that join a node's namespace run: not on the server's CPUs.
    `helper_raw`: they may send packets of their own (NET_RAW), for links that duplicate.
    """

    run: str
    trial: str
    nodes: tuple[Node, ...]
    networks: tuple[Network, ...]
    io_uring: bool = False
    helper_cpu_set: str = ""
    helper_raw: bool = False

    def node(self, name: str) -> Node:
        """The node of that name. Raises KeyError."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)

    def to_json(self) -> dict[str, Any]:
        """Plain data for topology.json."""
        return {**asdict(self), "nodes": [_node_json(node) for node in self.nodes]}


def _node_json(node: Node) -> dict[str, Any]:
    """A node as its runtime starts it: its environment in place of its settings."""
    data = asdict(replace(node, settings=None))
    del data["settings"]
    return {**data, "env": node.environment}
