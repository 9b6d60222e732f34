"""What is up, seen from another process: the nodes, and the network helpers inside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import AliasPath, BaseModel, Field

from lab.common import proc
from lab.common.errors import HostCannot, NoMeasurement, UsageError
from lab.common.owner import MARK, OWNER, RUN, TRIAL, Owner
from lab.engine.api import Engine
from lab.impair import choose, readback
from lab.impair.answers import ProbeAnswer
from lab.impair.helper import Helper
from lab.impair.link import Egress
from lab.runtime import ExecResult, docker_spec, journal
from lab.scenario.impairment import Impairment

HELPER = "net-"


@dataclass(frozen=True)
class NodeRow:
    """A node that is up. `addresses` by network; `owner` is the orchestrator's pid, 0 if unknown."""

    run: str
    node: str
    state: str
    addresses: Mapping[str, str]
    container: str
    owner: int


def nodes(client: Any | None) -> list[NodeRow]:
    """Return every node of the lab on this host: containers, and processes of the local runtime."""
    return [*(_containers(Engine(client.api)) if client is not None else ()), *_processes()]


class _Network(BaseModel):
    address: str = Field("", alias="IPAddress")


class _Container(BaseModel):
    """An entry of the engine's list of containers (GET /containers/json)."""

    names: list[str] = Field(alias="Names")
    labels: dict[str, str] = Field(alias="Labels")
    status: str = Field(alias="Status")
    networks: dict[str, _Network] | None = Field(
        None, validation_alias=AliasPath("NetworkSettings", "Networks")
    )


def _containers(engine: Engine) -> list[NodeRow]:
    found = engine.call("list containers", engine.api.containers, all=True, filters={"label": RUN})
    rows = [_row(_Container.model_validate(one)) for one in found]
    return sorted(rows, key=lambda row: (row.run, row.node))


def _row(one: _Container) -> NodeRow:
    name = one.names[0].lstrip("/")
    run, trial, mark = (one.labels.get(label, "") for label in (RUN, TRIAL, OWNER))
    prefix = docker_spec.name_prefix(run, trial)
    owner = Owner.parse(mark)
    networks = {network.removeprefix(prefix): at.address for network, at in (one.networks or {}).items()}
    return NodeRow(
        run=run,
        node=name.removeprefix(prefix),
        state=one.status,
        addresses={network: address for network, address in networks.items() if address},
        container=name,
        owner=owner.pid if owner else 0,
    )


def _processes() -> list[NodeRow]:
    rows = []
    for entry in journal.found():
        pids = [pid for mark in entry.named("mark") for pid in proc.marked(MARK, mark)]
        if pids:
            state = f"{len(pids)} processes" + (", owner dead" if entry.dead else "")
            rows.append(NodeRow(entry.run, "(local)", state, {"host": "127.0.0.1"}, "", 0))
    return rows


class Attached:
    """The nodes of a run that is up: what lab.impair needs of a Deployment, from the engine alone."""

    def __init__(self, client: Any, run: str) -> None:
        self._client = client
        self._engine = Engine(client.api)
        found = [row for row in _containers(self._engine) if row.run.startswith(run)]
        if not found or len({row.run for row in found}) > 1:
            known = ", ".join(sorted({row.run for row in _containers(self._engine)})) or "nothing"
            wrong = "is up in containers" if not found else "could be several"
            raise UsageError(f"{'no run ' if not found else ''}{run!r} {wrong}; up: {known}")
        self.run = found[0].run
        self._rows = {row.node: row for row in found}

    @property
    def nodes(self) -> list[str]:
        """The nodes with a helper: those whose links can be changed."""
        return [name.removeprefix(HELPER) for name in self._rows if name.startswith(HELPER)]

    def helper(self, node: str) -> str:
        """See lab.impair.helper.Helpers. Raises UsageError if the node has no helper."""
        if node not in self.nodes:
            raise UsageError(
                f"{self.run}: no helper at {node!r}; there are: {', '.join(self.nodes) or 'none'}"
            )
        return f"{HELPER}{node}"

    def exec(self, node: str, argv: Sequence[str], deadline_s: float) -> ExecResult:
        """See lab.impair.helper.Helpers."""
        container = self._client.containers.get(self._rows[node].container)
        code, (out, err) = self._engine.call(
            f"run {argv[0]} in {node}", container.exec_run, list(argv), demux=True, deadline_s=deadline_s
        )
        return ExecResult(int(code), (out or b"").decode(), (err or b"").decode())

    def interface(self, node: str, network: str) -> str | None:
        """See lab.impair.helper.Helpers. Found by the node's address on the network."""
        address = self._rows[node].addresses.get(network)
        for name, addresses in Helper(self, node).interfaces().items():
            if any(text.partition("/")[0] == address for text in addresses):
                return name
        return None

    def address(self, node: str, network: str) -> str:
        """Return the node's address on the network. Raises UsageError if it has none."""
        found = self._rows[node].addresses.get(network) if node in self._rows else None
        if not found:
            raise UsageError(f"{self.run}: {node!r} has no address on {network}")
        return found

    def signal(self, node: str, name: str) -> None:
        """Send a signal to a node. Raises UsageError for an unknown node."""
        if node not in self._rows:
            raise UsageError(f"{self.run}: no node {node!r}; there are: {', '.join(self._rows)}")
        container = self._rows[node].container
        self._engine.call(f"send {name} to {node}", self._engine.api.kill, container, name)

    def go(self) -> None:
        """Start the load: send GO to every master. Raises UsageError if there is none."""
        masters = [name for name in self._rows if name == "master" or name.endswith("-master")]
        for master in masters or ["master"]:
            self.signal(master, "SIGUSR1")

    def impair(self, node: str, network: str, impairment: Impairment) -> list[Impairment]:
        """Impair all that leaves `node` on `network`, instead of what was; return what is then configured."""
        helper, interface = self._at(node, network)
        backend = choose("auto", [impairment], helper.capabilities, 1)
        backend.clear(helper, interface)
        return backend.build(helper, interface, [Egress(node, network, impairment=impairment)])

    def in_force(self, node: str, network: str) -> list[tuple[str, Impairment]]:
        """Return what impairs the node's data now; counters are neither read nor reset. See readback."""
        helper, interface = self._at(node, network)
        return readback.in_force(helper.configured(interface))

    def clear(self, node: str, network: str) -> None:
        """Clear every impairment of the node's interface."""
        helper, interface = self._at(node, network)
        choose("auto", [Impairment()], helper.capabilities, 1).clear(helper, interface)

    def probe(self, node: str, host: str, count: int = 20) -> ProbeAnswer:
        """Measure round trips from inside `node` to the address `host`."""
        return Helper(self, node).probe(host, count, interval_ms=20.0)

    def _at(self, node: str, network: str) -> tuple[Helper, str]:
        interface = self.interface(node, network)
        if interface is None:
            raise HostCannot(f"{self.run}: {node} has no interface on {network}")
        return Helper(self, node), interface


def only(client: Any | None) -> Any:
    """Return the client, for what works in containers only. Raises NoMeasurement if no engine answers."""
    if client is None:
        raise NoMeasurement("no Docker engine answers: nothing is up in containers")
    return client
