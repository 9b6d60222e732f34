"""Talking to the helper of a node: one JSON command in, one JSON answer out (images/CONTRACT.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from time import monotonic
from typing import Any, Protocol

from lab.common.errors import HostCannot, NoMeasurement

COMMAND_DEADLINE_S = 20.0


class ExecResult(Protocol):
    """What a command run inside a node gave back."""

    @property
    def code(self) -> int:
        """Exit code."""

    @property
    def out(self) -> str:
        """Standard output."""

    @property
    def err(self) -> str:
        """Standard error."""


class Helpers(Protocol):
    """The part of a Deployment that impairing needs."""

    def helper(self, node: str) -> str:
        """Make sure that a nettools node shares `node`'s network namespace; returns its name."""

    def exec(self, node: str, argv: Sequence[str], deadline_s: float) -> ExecResult:
        """Run a command inside the node and wait for it."""

    def interface(self, node: str, network: str) -> str | None:
        """The name of `node`'s interface on `network`; None where it has no own one."""


class Helper:
    """The agent in a node's network namespace. Every call ends by its deadline."""

    def __init__(self, helpers: Helpers, node: str) -> None:
        self.node = node
        self._helpers = helpers
        self._name = helpers.helper(node)

    @cached_property
    def can(self) -> Mapping[str, Any]:
        """What this node's kernel and helper can do: the answer to `capabilities`."""
        return self.ask(do="capabilities")

    def ask(self, **command: Any) -> dict[str, Any]:
        """The answer to a command; one that waits for its moment, or probes, is given that time on top.

        Raises HostCannot with the agent's reason when it refuses, NoMeasurement when it does not answer.
        """
        argv = ["python", "-m", "nettools", "ctl", json.dumps(command, separators=(",", ":"))]
        result = self._helpers.exec(self._name, argv, COMMAND_DEADLINE_S + _takes_s(command))
        answer = _last_object(result.out)
        if answer is None:
            words = " ".join((result.err or result.out).split())[-300:]
            raise NoMeasurement(f"helper of {self.node}: no answer to {command['do']} ({words or 'silence'})")
        if not answer.pop("ok"):
            raise HostCannot(f"helper of {self.node}: {command['do']}: {answer.get('says')}")
        return answer


def _takes_s(command: Mapping[str, Any]) -> float:
    until_s = float(command.get("at_mono_ms") or 0.0) / 1e3 - monotonic()
    return max(until_s, 0.0) + float(command.get("count", 0) * command.get("interval_ms", 0)) / 1e3


def _last_object(text: str) -> dict[str, Any] | None:
    for line in reversed(text.splitlines()):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict) and "ok" in found:
            return found
    return None
