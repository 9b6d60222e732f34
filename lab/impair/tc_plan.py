"""The links of a plan as the tc commands that a person would type, before anything is up. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lab.common.errors import HostCannot
from lab.impair import BACKENDS, argv
from lab.impair.answers import Capabilities
from lab.impair.placement import Interface, Interfaces, choose_for, needs, place
from lab.impair.trial import resolve
from lab.plan.plan import Plan, Trial
from lab.plan.topology import CONTROL, DATA
from lab.runtime import ExecResult

KERNEL = "netem"  # the backend whose commands these are
ENTER = "nsenter -n -t $(docker inspect -f '{{.State.Pid}}' $(docker ps -qf name='[0-9]-NODE$')) COMMAND"


@dataclass(frozen=True)
class TcPlan:
    """The commands of some trials: (node, interface) → argument lists, in their order.

    `backend` is what a run would take on this kernel, `reason` why it is none, or not netem. An address that
    is not known before the node is up is a shell variable: `$worker_0`.
    """

    trials: tuple[str, ...]
    commands: Mapping[tuple[str, str], Sequence[argv.Argv]]
    backend: str | None
    reason: str | None

    def to_json(self) -> dict[str, Any]:
        """Plain data for `lab plan --json`."""
        places = [
            {"node": node, "interface": interface, "commands": list(commands)}
            for (node, interface), commands in self.commands.items()
        ]
        return {
            "trials": list(self.trials),
            "backend": self.backend,
            "reason": self.reason,
            "places": places,
        }


def tc_plans(plan: Plan, can: Capabilities | None, why_unknown: str = "") -> list[TcPlan]:
    """Return the commands of every trial with links; trials with the same commands share an entry.

    `can` is None if the kernel could not be asked, for the reason `why_unknown`.

    Raises:
        UsageError: If two links impair the same packets.
    """
    found: list[TcPlan] = []
    for trial in plan.trials:
        made = _of_trial(trial, can, why_unknown)
        same = next((i for i, other in enumerate(found) if other.commands == made.commands), None)
        if same is None:
            found.append(made)
        else:
            found[same] = replace(found[same], trials=(*found[same].trials, trial.id))
    return [made for made in found if made.commands]


def as_text(found: Sequence[TcPlan], trials: int) -> str:
    """Return the commands for people, and for their shells."""
    if not found:
        return ""
    lines = ["links as tc commands, to run as root in the network namespace of each node of `lab up`:"]
    lines += [f"  {ENTER}"]
    if any(word.startswith("$") for word in _words(found)):
        lines += ["  $worker_0 is the address of worker-0 on the network `data`, and so on"]
    for made in found:
        lines += ["", f"  {'every trial' if len(made.trials) == trials else ', '.join(made.trials)}:"]
        lines += [f"    ({_backend(made)})"]
        for (node, interface), commands in made.commands.items():
            lines += [f"    {node}, {interface}", *(f"      {' '.join(command)}" for command in commands)]
    return "\n".join(lines)


def _backend(made: TcPlan) -> str:
    if made.backend == KERNEL:
        return "a run does the same, by the kernel's netem"
    if made.backend is None:
        return str(made.reason)
    return f"a run uses the delay line, in user space, instead: {made.reason}"


def _words(found: Sequence[TcPlan]) -> Iterator[str]:
    for made in found:
        for commands in made.commands.values():
            yield from itertools.chain.from_iterable(commands)


class _NodesToBe:
    """Stands in for a Deployment that is not up. See Nodes."""

    def __init__(self) -> None:
        self._stand_ins: dict[str, str] = {}

    def address(self, node: str, network: str) -> str:
        """Return a stand-in: an address of TEST-NET-1 (RFC 5737), which no host has."""
        return self._stand_ins.setdefault(f"{node} {network}", f"192.0.2.{len(self._stand_ins) + 1}")

    def interface(self, node: str, network: str) -> str:
        """Docker numbers a container's interfaces in the order of its networks' names."""
        networks = [DATA] if node == "server" else sorted((CONTROL, DATA))
        return f"eth{networks.index(network)}"

    def helper(self, node: str) -> str:
        """There is none; nothing is run in it."""
        return node

    def exec(self, node: str, argv: Sequence[str], deadline_s: float) -> ExecResult:
        """Raise HostCannot: the node is not up."""
        raise HostCannot(f"{node} is not up: {argv[0]} cannot run in it within {deadline_s:g} s")

    def with_variables(self, command: argv.Argv) -> argv.Argv:
        """Return the command with shell variables for the stand-ins."""
        variables = {
            f"{address}/32": f"${at.split()[0].replace('-', '_')}/32"
            for at, address in self._stand_ins.items()
        }
        return [variables.get(word, word) for word in command]


def _of_trial(trial: Trial, can: Capabilities | None, why_unknown: str) -> TcPlan:
    nodes = _NodesToBe()
    interfaces: Interfaces = {}
    for number, spec in enumerate(trial.scenario.links):
        link = resolve(spec, nodes, trial, number)
        if link is not None:
            place(nodes, link, interfaces)
    commands = {
        key: [nodes.with_variables(command) for command in argv.build(interface.name, interface.egresses)]
        for key, interface in interfaces.items()
    }
    if can is None:
        return TcPlan((trial.id,), commands, None, f"what would apply them is unknown: {why_unknown}")
    return TcPlan((trial.id,), commands, *_choice(list(interfaces.values()), can))


def _choice(interfaces: Sequence[Interface], can: Capabilities) -> tuple[str | None, str | None]:
    reason = BACKENDS[KERNEL].unsupported(needs(interfaces)[0], can, needs(interfaces)[1])
    if reason is None:
        return KERNEL, None
    try:
        return choose_for("auto", interfaces, can).name, reason
    except HostCannot as error:
        return None, str(error)
