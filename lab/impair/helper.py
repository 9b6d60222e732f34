"""Commands to the nettools agent of a node: one JSON line each way (images/CONTRACT.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from time import monotonic
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ValidationError

from lab.common.errors import HostCannot, NoMeasurement
from lab.impair import answers
from lab.runtime import ExecResult
from lab.scenario.impairment import Impairment

COMMAND_DEADLINE_S = 20.0
T = TypeVar("T", bound=BaseModel)


class Helpers(Protocol):
    """The part of a Deployment that impairing needs."""

    def helper(self, node: str) -> str:
        """Make sure that a nettools node shares `node`'s network namespace; returns its name."""

    def exec(self, node: str, argv: Sequence[str], deadline_s: float) -> ExecResult:
        """Run a command inside the node and wait for it."""

    def interface(self, node: str, network: str) -> str | None:
        """Return the name of `node`'s interface on `network`; None where it has no own one."""


class Helper:
    """The agent in a node's network namespace. Every call ends by its deadline.

    Its methods raise HostCannot with the agent's reason when it refuses, NoMeasurement when it does not
    answer, or answers what CONTRACT.md does not say.
    """

    def __init__(self, helpers: Helpers, node: str) -> None:
        self.node = node
        self._helpers = helpers
        self._name = helpers.helper(node)

    @cached_property
    def capabilities(self) -> answers.Capabilities:
        """What this node's kernel and agent can do."""
        return self._ask(answers.Capabilities, do="capabilities")

    def run(
        self, interface: str, commands: Sequence[Sequence[str]], at_mono_ms: float | None = None
    ) -> answers.SetAnswer:
        """Run tc commands, at `at_mono_ms` of CLOCK_MONOTONIC or at once."""
        return self._ask(
            answers.SetAnswer,
            _until_s(at_mono_ms),
            do="set",
            backend="netem",
            interface=interface,
            commands=commands,
            at_mono_ms=at_mono_ms,
        )

    def set_queue(
        self, interface: str, peers: Sequence[str], impairment: Impairment, at_mono_ms: float | None = None
    ) -> answers.SetAnswer:
        """Make a queue of the delay line, or change it, at `at_mono_ms` or at once."""
        return self._ask(
            answers.SetAnswer,
            _until_s(at_mono_ms),
            do="set",
            backend="delayline",
            interface=interface,
            peers=peers,
            impairment=impairment.to_json(),
            at_mono_ms=at_mono_ms,
        )

    def clear(self, interface: str, commands: Sequence[Sequence[str]] = ()) -> None:
        """Close the interface's queues and run tc commands; a vanished interface counts as cleared."""
        self._ask(answers.ClearAnswer, do="clear", interface=interface, commands=commands)

    def configured(self, interface: str) -> answers.Configured:
        """Read back what is set on the interface; counters are neither read nor reset."""
        return self._ask(answers.ConfiguredAnswer, do="configured", interface=interface).configured

    def read(self, interface: str) -> answers.ReadAnswer:
        """Read back what is set, and the counters; the next reading counts lateness from here."""
        return self._ask(answers.ReadAnswer, do="read", interface=interface)

    def probe(self, host: str, count: int, interval_ms: float) -> answers.ProbeAnswer:
        """Measure round trips to an address."""
        takes_s = count * interval_ms / 1e3
        return self._ask(
            answers.ProbeAnswer, takes_s, do="probe", host=host, count=count, interval_ms=interval_ms
        )

    def interfaces(self) -> Mapping[str, tuple[str, ...]]:
        """Return the addresses of each interface, with prefix length."""
        found = self._ask(answers.InterfacesAnswer, do="interfaces").interfaces
        return {name: one.addresses for name, one in found.items()}

    def _ask(self, kind: type[T], takes_s: float = 0.0, **command: Any) -> T:
        """Send a command that takes `takes_s` by itself; return its answer."""
        what = f"helper of {self.node}: {command['do']}"
        argv = ["python", "-m", "nettools", "ctl", json.dumps(command, separators=(",", ":"))]
        result = self._helpers.exec(self._name, argv, COMMAND_DEADLINE_S + takes_s)
        answer = _last_answer(result.out)
        if answer is None:
            output = " ".join((result.err or result.out).split())[-300:]
            raise NoMeasurement(f"{what}: no answer ({output or 'no output'})")
        if not answer.pop("ok"):
            raise HostCannot(f"{what}: {answer.get('says')}")
        try:
            return kind.model_validate(answer)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise NoMeasurement(
                f"{what}: unknown answer: {where}: {first['msg']} (is the nettools image of this version?)"
            ) from None


def _until_s(at_mono_ms: float | None) -> float:
    return 0.0 if at_mono_ms is None else max(at_mono_ms / 1e3 - monotonic(), 0.0)


def _last_answer(text: str) -> dict[str, Any] | None:
    for line in reversed(text.splitlines()):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict) and "ok" in found:
            return found
    return None
