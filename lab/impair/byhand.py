"""The links of a plan as the tc commands that a person would type; nothing is up yet. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lab.common.errors import HostCannot
from lab.impair import argv, choose, netem
from lab.impair.apply import Interface, placed
from lab.impair.helper import ExecResult
from lab.impair.trial import resolve
from lab.plan.plan import Plan, Trial
from lab.plan.topology import CONTROL, DATA

ENTER = "nsenter -n -t $(docker inspect -f '{{.State.Pid}}' $(docker ps -qf name='[0-9]-NODE$')) COMMAND"


@dataclass(frozen=True)
class ByHand:
    """The commands of some trials: (node, interface) → argument lists, in their order.

    `backend` is what a run would take on this kernel, `why_not` the reason where that is none, or not netem.
    An address that is not known before the node is up reads `$worker_0`, as a shell would fill it in.
    """

    trials: tuple[str, ...]
    commands: Mapping[tuple[str, str], Sequence[argv.Argv]]
    backend: str | None
    why_not: str | None

    def to_json(self) -> dict[str, Any]:
        """Plain data for `lab plan --json`."""
        places = [
            {"node": node, "interface": interface, "commands": list(commands)}
            for (node, interface), commands in self.commands.items()
        ]
        told = {"trials": list(self.trials), "backend": self.backend, "why_not": self.why_not}
        return {**told, "places": places}


def by_hand(plan: Plan, can: Mapping[str, Any] | None, why_unknown: str = "") -> list[ByHand]:
    """What the trials of the plan need; those with the same commands together.

    `can` is what the kernel can do, as the helper's `capabilities` tells it; None where nobody could ask it,
    for the reason `why_unknown`. Raises UsageError for links that contradict each other.
    """
    found: list[ByHand] = []
    for trial in plan.trials:
        made = _of_trial(trial, can, why_unknown)
        same = next((i for i, other in enumerate(found) if other.commands == made.commands), None)
        if same is None:
            found.append(made)
        else:
            found[same] = replace(found[same], trials=(*found[same].trials, trial.id))
    return [made for made in found if made.commands]


def as_text(found: Sequence[ByHand], trials: int) -> str:
    """For people, and for their shells."""
    if not found:
        return ""
    lines = ["links, by hand: as root, in the network namespace of each node that `lab up` brings up:"]
    lines += [f"  {ENTER}"]
    if any(one.startswith("$") for one in _words(found)):
        lines += ["  $worker_0 is the address of worker-0 on the network `data`, and so on"]
    for made in found:
        lines += ["", f"  {'every trial' if len(made.trials) == trials else ', '.join(made.trials)}:"]
        lines += [f"    ({_backend(made)})"]
        for (node, interface), commands in made.commands.items():
            lines += [f"    {node}, {interface}", *(f"      {' '.join(command)}" for command in commands)]
    return "\n".join(lines)


def _backend(made: ByHand) -> str:
    if made.backend == "netem":
        return "a run does the same, by the kernel's netem"
    if made.backend is None:
        return str(made.why_not)
    return f"a run takes the delay line, in user space, instead: {made.why_not}"


def _words(found: Sequence[ByHand]) -> Iterator[str]:
    for made in found:
        for commands in made.commands.values():
            yield from itertools.chain.from_iterable(commands)


class _NotUp:
    """The deployment that a trial will have, as far as it can be told before it is up. See Helpers."""

    def __init__(self) -> None:
        self._stand_ins: dict[str, str] = {}

    def address(self, node: str, network: str) -> str:
        """A stand-in: an address of TEST-NET-1 (RFC 5737), which nobody has."""
        return self._stand_ins.setdefault(f"{node} {network}", f"192.0.2.{len(self._stand_ins) + 1}")

    def interface(self, node: str, network: str) -> str:
        """Docker numbers a container's interfaces in the order of its networks' names."""
        networks = [DATA] if node == "server" else sorted((CONTROL, DATA))
        return f"eth{networks.index(network)}"

    def helper(self, node: str) -> str:
        """Nobody is asked anything."""
        return node

    def exec(self, node: str, argv: Sequence[str], deadline_s: float) -> ExecResult:
        """Nobody is there."""
        raise HostCannot(f"{node} is not up: {argv[0]} cannot run in it within {deadline_s:g} s")

    def named(self, command: argv.Argv) -> argv.Argv:
        """The command with names in place of the stand-ins."""
        names = {
            f"{address}/32": f"${at.split()[0].replace('-', '_')}/32"
            for at, address in self._stand_ins.items()
        }
        return [names.get(word, word) for word in command]


def _of_trial(trial: Trial, can: Mapping[str, Any] | None, why_unknown: str) -> ByHand:
    not_up = _NotUp()
    interfaces: dict[tuple[str, str], Interface] = {}
    for number, spec in enumerate(trial.scenario.links):
        link = resolve(spec, not_up, trial, number)
        if link is not None:
            placed(not_up, link, interfaces)
    commands = {
        key: [not_up.named(command) for command in argv.build(interface.name, interface.branches)]
        for key, interface in interfaces.items()
    }
    if can is None:
        return ByHand((trial.id,), commands, None, f"what would apply them is not known here: {why_unknown}")
    return ByHand((trial.id,), commands, *_chosen(list(interfaces.values()), can))


def _chosen(interfaces: Sequence[Interface], can: Mapping[str, Any]) -> tuple[str | None, str | None]:
    impairments = [branch.impairment for interface in interfaces for branch in interface.branches]
    most = max((len(interface.branches) for interface in interfaces), default=0)
    why_not_netem = netem.why_not(impairments, can, most)
    if why_not_netem is None:
        return netem.name, None
    try:
        return choose("auto", impairments, can, most).name, why_not_netem
    except HostCannot as error:
        return None, str(error)
