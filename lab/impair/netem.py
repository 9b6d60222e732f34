"""Impairments by the kernel's own netem: exact, and free of any process that could be late."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lab.common.errors import HostCannot, LabError
from lab.impair import argv, readback
from lab.impair.argv import Branch
from lab.impair.helper import Helper
from lab.scenario.impairment import Impairment

name = "netem"
stamp = ""


def why_not(impairments: Iterable[Impairment], can: Mapping[str, Any], branches: int) -> str | None:
    """None if this kernel can do it all, else what is missing."""
    if not can["netem"]:
        return str(can["why"]["netem"])
    if branches > 1:
        if not can["htb"]:
            return f"different links to different peers need htb: {can['why']['htb']}"
        if any(impairment.duplicate for impairment in impairments):
            return "the kernel refuses to duplicate where several netems share an interface"
    return None


def build(helper: Helper, interface: str, branches: Sequence[Branch]) -> list[dict[str, Any]]:
    """Impair the interface; what the kernel then holds, per branch."""
    qdiscs = _run(helper, interface, argv.build(interface, branches))["configured"]["qdiscs"]
    return [found["configured"] for found in _all_found(qdiscs, interface, branches)]


def change(
    helper: Helper,
    interface: str,
    branches: Sequence[Branch],
    index: int,
    to: Impairment,
    at_ms: float | None,
) -> dict[str, Any]:
    """Change one branch in place at `at_ms` (CLOCK_MONOTONIC); `applied_mono_ms` and `configured`."""
    answer = _run(helper, interface, argv.change(interface, branches, index, to), at_ms)
    found = _found(answer["configured"]["qdiscs"], interface, branches, index, to)
    return {"applied_mono_ms": answer["applied_mono_ms"], "configured": found["configured"]}


def clear(helper: Helper, interface: str) -> None:
    """Take it all away."""
    helper.ask(do="clear", interface=interface, commands=argv.clear(interface))


def read(helper: Helper, interface: str, branches: Sequence[Branch]) -> list[dict[str, Any]]:
    """Per branch: `configured` and `counters`. Raises LabError if a rule has vanished or changed."""
    qdiscs = helper.ask(do="read", interface=interface)["configured"]["qdiscs"]
    return _all_found(qdiscs, interface, branches)


def _run(
    helper: Helper, interface: str, commands: Sequence[argv.Argv], at_ms: float | None = None
) -> dict[str, Any]:
    return helper.ask(do="set", backend=name, interface=interface, commands=commands, at_mono_ms=at_ms)


def _all_found(
    qdiscs: Sequence[Mapping[str, Any]], interface: str, branches: Sequence[Branch]
) -> list[dict[str, Any]]:
    return [_found(qdiscs, interface, branches, i, branch.impairment) for i, branch in enumerate(branches)]


def _found(
    qdiscs: Sequence[Mapping[str, Any]],
    interface: str,
    branches: Sequence[Branch],
    index: int,
    wanted: Impairment,
) -> dict[str, Any]:
    handle = argv.handle(branches, index)
    qdisc = readback.find(qdiscs, "netem", handle)
    if qdisc is None:
        raise LabError(f"{interface}: netem {handle} has vanished: somebody else changed the interface")
    configured = readback.configured(qdisc)
    if wrong := readback.differences(wanted, argv.limit_packets(wanted), configured):
        raise HostCannot(f"{interface}: netem {handle} is not as asked: {'; '.join(wrong)}")
    return {"configured": configured, "counters": readback.counters(qdisc, wanted)}
