"""Links: what was asked for is applied, read back and measured, by the kernel's netem or by a user-space
delay line.

`BACKENDS` is the table of them; `choose` asks the kernel. Adding one is a module with the functions of
`Backend` and a line here; tests/contract/test_impair.py then holds it to the contract.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from lab.common.errors import HostCannot, UsageError
from lab.impair import delayline, netem, none
from lab.impair.argv import Branch
from lab.impair.helper import Helper
from lab.scenario.impairment import Impairment


class Backend(Protocol):
    """What a backend module offers. Times are milliseconds of CLOCK_MONOTONIC."""

    name: str
    stamp: str

    def why_not(self, impairments: Iterable[Impairment], can: Mapping[str, Any], branches: int) -> str | None:
        """None if it can do these here, else the reason.

        `can` is the helper's answer to `capabilities`, `branches` the most sets of peers of one interface.
        """

    def build(self, helper: Helper, interface: str, branches: Sequence[Branch]) -> list[dict[str, Any]]:
        """Impair an interface that nothing impairs; what is then configured, per branch."""

    def change(
        self,
        helper: Helper,
        interface: str,
        branches: Sequence[Branch],
        index: int,
        to: Impairment,
        at_ms: float | None,
    ) -> dict[str, Any]:
        """Change one branch, at that time or at once, without losing what it holds."""

    def clear(self, helper: Helper, interface: str) -> None:
        """Leave the interface as it was found."""

    def read(self, helper: Helper, interface: str, branches: Sequence[Branch]) -> list[dict[str, Any]]:
        """`configured` and `counters` of each branch now. Raises LabError when a rule has vanished."""


BACKENDS: Mapping[str, Backend] = {module.name: module for module in (netem, delayline, none)}
AUTO = ("netem", "delayline")


def choose(wanted: str, impairments: Sequence[Impairment], can: Mapping[str, Any], branches: int) -> Backend:
    """The backend of that name, or for `auto` the first that can do it all: netem before the delay line.

    Raises UsageError for an unknown name, HostCannot with the reasons when none can.
    """
    if wanted != "auto" and wanted not in BACKENDS:
        raise UsageError(f"links: unknown backend {wanted!r}; known are auto, {', '.join(BACKENDS)}")
    reasons = []
    for name in AUTO if wanted == "auto" else (wanted,):
        reason = BACKENDS[name].why_not(impairments, can, branches)
        if reason is None:
            return BACKENDS[name]
        reasons.append(f"{name}: {reason}")
    raise HostCannot(f"these links cannot be applied here: {'; '.join(reasons)}")
