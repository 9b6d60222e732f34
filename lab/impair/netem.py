"""Impairments by the kernel's netem: exact, and independent of any process that could be late."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lab.common.errors import HostCannot, LabError
from lab.impair import argv, readback
from lab.impair.answers import Capabilities, Qdisc
from lab.impair.helper import Helper
from lab.impair.link import Changed, Egress, Reading, too_short
from lab.scenario.impairment import Impairment

name = "netem"
stamp = ""
# A timer of the kernel (hrtimer) fires later than asked by more than this: a shorter delay could not be told.
LEAST_DELAY_MS = 0.001


def unsupported(impairments: Iterable[Impairment], can: Capabilities, peer_sets: int) -> str | None:
    """Return what this kernel lacks for them; None if nothing."""
    if reason := can.missing("netem"):
        return reason
    asked = list(impairments)
    if peer_sets > 1:
        if reason := can.missing("htb"):
            return f"different links to different peers need htb: {reason}"
        if any(impairment.duplicate for impairment in asked):
            return "the kernel refuses to duplicate with several netems on an interface"
    return too_short((one.delay_ms for one in asked), LEAST_DELAY_MS)


def build(helper: Helper, interface: str, egresses: Sequence[Egress]) -> list[Impairment]:
    """Impair the interface; return what the kernel then has for each egress."""
    qdiscs = helper.run(interface, argv.build(interface, egresses)).configured.qdiscs
    return [found.configured for found in _read_all(qdiscs, interface, egresses)]


def change(
    helper: Helper,
    interface: str,
    egresses: Sequence[Egress],
    index: int,
    to: Impairment,
    at_mono_ms: float | None,
) -> Changed:
    """Change one egress in place."""
    answer = helper.run(interface, argv.change(interface, egresses, index, to), at_mono_ms)
    found = _read(answer.configured.qdiscs, interface, argv.handle(egresses, index), to)
    return Changed(answer.applied_mono_ms, found.configured)


def clear(helper: Helper, interface: str) -> None:
    """Delete every qdisc of the interface; packets in them are dropped."""
    helper.clear(interface, argv.clear(interface))


def read(helper: Helper, interface: str, egresses: Sequence[Egress]) -> list[Reading]:
    """Read each egress back. Raises LabError if a netem has vanished, HostCannot if it was changed."""
    return _read_all(helper.read(interface).configured.qdiscs, interface, egresses)


def _read_all(qdiscs: Sequence[Qdisc], interface: str, egresses: Sequence[Egress]) -> list[Reading]:
    return [
        _read(qdiscs, interface, argv.handle(egresses, index), egress.impairment)
        for index, egress in enumerate(egresses)
    ]


def _read(qdiscs: Sequence[Qdisc], interface: str, handle: str, requested: Impairment) -> Reading:
    qdisc = readback.find(qdiscs, handle)
    if qdisc is None or qdisc.netem is None:
        raise LabError(f"{interface}: netem {handle} has vanished: another program changed the interface")
    configured = readback.impairment(qdisc.netem)
    if wrong := readback.differences(requested, argv.limit_packets(requested), configured):
        raise HostCannot(f"{interface}: netem {handle} is not as requested: {'; '.join(wrong)}")
    return Reading(configured, readback.counters(qdisc, requested))
