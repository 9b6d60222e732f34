"""Links: impairments are applied, read back and measured, by the kernel's netem or a user-space delay line.

`BACKENDS` is the table of both; `choose` asks the kernel. A new backend is a module with the functions of
`Backend` and a line here; tests/contract/test_impair.py tests it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from lab.common.errors import HostCannot, UsageError
from lab.impair import delayline, netem, none
from lab.impair.answers import Capabilities
from lab.impair.helper import Helper
from lab.impair.link import Changed, Egress, Reading
from lab.scenario.impairment import Impairment


class Backend(Protocol):
    """The functions of a backend's module. Times are milliseconds of CLOCK_MONOTONIC."""

    name: str
    stamp: str

    def unsupported(self, impairments: Iterable[Impairment], can: Capabilities, peer_sets: int) -> str | None:
        """Return why these impairments cannot be applied here; None if they can.

        `peer_sets` is the largest number of egresses of one interface.
        """

    def build(self, helper: Helper, interface: str, egresses: Sequence[Egress]) -> list[Impairment]:
        """Impair an interface that has no impairment; return what is configured for each egress."""

    def change(
        self,
        helper: Helper,
        interface: str,
        egresses: Sequence[Egress],
        index: int,
        to: Impairment,
        at_mono_ms: float | None,
    ) -> Changed:
        """Change one egress, at that time or at once, without dropping the packets that it holds."""

    def clear(self, helper: Helper, interface: str) -> None:
        """Undo `build`."""

    def read(self, helper: Helper, interface: str, egresses: Sequence[Egress]) -> list[Reading]:
        """Read each egress back. Raises LabError if a rule has vanished or was changed."""


BACKENDS: Mapping[str, Backend] = {module.name: module for module in (netem, delayline, none)}
AUTO = ("netem", "delayline")


def choose(wanted: str, impairments: Sequence[Impairment], can: Capabilities, peer_sets: int) -> Backend:
    """Return the backend of that name; for `auto` the first that supports everything, netem before delayline.

    Raises:
        UsageError: For an unknown name.
        HostCannot: If none can be used, with the reasons.
    """
    if wanted != "auto" and wanted not in BACKENDS:
        raise UsageError(f"links: unknown backend {wanted!r}; known are auto, {', '.join(BACKENDS)}")
    reasons = []
    for name in AUTO if wanted == "auto" else (wanted,):
        reason = BACKENDS[name].unsupported(impairments, can, peer_sets)
        if reason is None:
            return BACKENDS[name]
        reasons.append(f"{name}: {reason}")
    raise HostCannot(f"these links cannot be applied here: {'; '.join(reasons)}")
