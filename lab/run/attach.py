"""What is up right now, seen from another process: its nodes, and the network helpers inside them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lab.common import proc
from lab.common.errors import HostCannot, NoMeasurement, UsageError
from lab.common.owner import MARK, OWNER, RUN, TRIAL, Owner
from lab.engine.api import Engine
from lab.impair import choose, readback
from lab.impair.argv import Branch
from lab.impair.helper import Helper
from lab.runtime import ExecResult, journal
from lab.scenario.impairment import Impairment

HELPER = "net-"


@dataclass(frozen=True)
class NodeRow:
    """A node that is up. `addresses` by network; `owner` is the orchestrator's pid, 0 where unknown."""

    run: str
    node: str
    state: str
    addresses: Mapping[str, str]
    container: str
    owner: int


def nodes(client: Any | None) -> list[NodeRow]:
    """Everything of the lab's that is up here: containers of the engine, processes of the local runtime."""
    return [*(_containers(Engine(client.api)) if client is not None else ()), *_processes()]


def _containers(engine: Engine) -> list[NodeRow]:
    found = engine.call("list containers", engine.api.containers, all=True, filters={"label": RUN})
    rows = [_container(one) for one in found]
    return sorted(rows, key=lambda row: (row.run, row.node))


def _container(one: Mapping[str, Any]) -> NodeRow:
    labels, name = one["Labels"], one["Names"][0].lstrip("/")
    prefix = re.sub(r"[^A-Za-z0-9._-]", "-", f"lab-{labels[RUN]}-{labels.get(TRIAL, '')}-")
    networks = (one.get("NetworkSettings") or {}).get("Networks") or {}
    owner = Owner.parse(labels.get(OWNER, ""))
    return NodeRow(
        run=labels[RUN],
        node=name.removeprefix(prefix),
        state=one["Status"],
        addresses={
            network.removeprefix(prefix): found["IPAddress"]
            for network, found in networks.items()
            if found.get("IPAddress")
        },
        container=name,
        owner=owner.pid if owner else 0,
    )


def _processes() -> list[NodeRow]:
    rows = []
    for entry in journal.found():
        pids = [pid for mark in entry.names.get("mark", []) for pid in proc.marked(MARK, mark)]
        if pids:
            says = f"{len(pids)} processes" + (", owner dead" if entry.dead else "")
            rows.append(NodeRow(entry.run, "(local)", says, {"host": "127.0.0.1"}, "", 0))
    return rows


class Attached:
    """The helpers of a run that is up: what lab.impair needs of a deployment, over the engine alone."""

    def __init__(self, client: Any, run: str) -> None:
        self._client = client
        self._engine = Engine(client.api)
        found = [row for row in _containers(self._engine) if row.run.startswith(run)]
        if not found or len({row.run for row in found}) > 1:
            known = ", ".join(sorted({row.run for row in _containers(self._engine)})) or "nothing"
            raise UsageError(f"no single run {run!r} is up in containers; up: {known}")
        self.run = found[0].run
        self._rows = {row.node: row for row in found}

    @property
    def nodes(self) -> list[str]:
        """The nodes whose links can be changed: those with a helper."""
        return [name.removeprefix(HELPER) for name in self._rows if name.startswith(HELPER)]

    def helper(self, node: str) -> str:
        """See lab.impair.helper.Helpers. Raises UsageError where the node has no helper."""
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
        found = Helper(self, node).ask(do="interfaces")["interfaces"]
        for name, one in found.items():
            if any(text.partition("/")[0] == address for text in one.get("addresses", ())):
                return str(name)
        return None

    def address(self, node: str, network: str) -> str:
        """The node's address on the network. Raises UsageError."""
        found = self._rows[node].addresses.get(network) if node in self._rows else None
        if not found:
            raise UsageError(f"{self.run}: {node!r} has no address on {network}")
        return found

    def signal(self, node: str, name: str) -> None:
        """Send a signal to a node. Raises UsageError."""
        if node not in self._rows:
            raise UsageError(f"{self.run}: no node {node!r}; there are: {', '.join(self._rows)}")
        container = self._rows[node].container
        self._engine.call(f"send {name} to {node}", self._engine.api.kill, container, name)

    def go(self) -> None:
        """The load begins: to every master. Raises UsageError where there is none."""
        masters = [name for name in self._rows if name == "master" or name.endswith("-master")]
        for master in masters or ["master"]:
            self.signal(master, "SIGUSR1")

    def impair(self, node: str, network: str, impairment: Impairment) -> list[dict[str, Any]]:
        """Impair all that leaves `node` on `network`, instead of what was; what is then configured."""
        helper, interface = self._at(node, network)
        backend = choose("auto", [impairment], helper.can, 1)
        backend.clear(helper, interface)
        return backend.build(helper, interface, [Branch((), impairment)])

    def in_force(self, node: str, network: str) -> list[dict[str, Any]]:
        """What impairs the node's data now: see readback.in_force. Counters stay unread for who measures."""
        helper, interface = self._at(node, network)
        return readback.in_force(helper.ask(do="configured", interface=interface)["configured"])

    def clear(self, node: str, network: str) -> None:
        """Take every impairment of the node's interface away."""
        helper, interface = self._at(node, network)
        choose("auto", [Impairment()], helper.can, 1).clear(helper, interface)

    def probe(self, node: str, host: str, count: int = 20) -> dict[str, Any]:
        """Round trips from inside `node` to the address `host`."""
        return Helper(self, node).ask(do="probe", host=host, count=count, interval_ms=20.0)

    def _at(self, node: str, network: str) -> tuple[Helper, str]:
        helper = Helper(self, node)
        interface = self.interface(node, network)
        if interface is None:
            raise HostCannot(f"{self.run}: {node} has no interface on {network}")
        return helper, interface


def only(client: Any | None) -> Any:
    """The client, for what works in containers only. Raises NoMeasurement where no engine answers."""
    if client is None:
        raise NoMeasurement("no Docker engine answers: nothing is up in containers")
    return client
