"""Impairments in user space, for kernels without netem: the helper's delay line holds the packets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lab.common.errors import HostCannot, LabError
from lab.impair import argv
from lab.impair.argv import Branch
from lab.impair.helper import Helper
from lab.scenario.impairment import Impairment

name = "delayline"
stamp = "delay: user space"


def why_not(
    impairments: Iterable[Impairment],
    can: Mapping[str, Any],
    branches: int,  # noqa: ARG001 - queues for any number of peers
) -> str | None:
    """None if this kernel and this helper can do it all, else what is missing."""
    if not can["nfqueue"]:
        return str(can["why"]["nfqueue"])
    if any(impairment.duplicate for impairment in impairments) and not can["raw_sockets"]:
        return str(can["why"]["raw_sockets"])
    return None


def build(helper: Helper, interface: str, branches: Sequence[Branch]) -> list[dict[str, Any]]:
    """Impair the interface; what the delay line then holds, per branch."""
    configured = []
    for branch in branches:
        queues = _set(helper, interface, branch.peers, branch.impairment)["configured"]["queues"]
        configured.append(_checked(_queue(queues, interface, branch.peers)["impairment"], branch.impairment))
    return configured


def change(
    helper: Helper,
    interface: str,
    branches: Sequence[Branch],
    index: int,
    to: Impairment,
    at_ms: float | None,
) -> dict[str, Any]:
    """Change one branch in place at `at_ms` (CLOCK_MONOTONIC); `applied_mono_ms` and `configured`."""
    answer = _set(helper, interface, branches[index].peers, to, at_ms)
    configured = _queue(answer["configured"]["queues"], interface, branches[index].peers)["impairment"]
    return {"applied_mono_ms": answer["applied_mono_ms"], "configured": _checked(configured, to)}


def clear(helper: Helper, interface: str) -> None:
    """Take it all away; what is still held leaves at its time."""
    helper.ask(do="clear", interface=interface, commands=[])


def read(helper: Helper, interface: str, branches: Sequence[Branch]) -> list[dict[str, Any]]:
    """Per branch: `configured`, `counters` (lateness since the last read). Raises LabError if it is gone."""
    answer = helper.ask(do="read", interface=interface)
    found = []
    for branch in branches:
        configured = _queue(answer["configured"]["queues"], interface, branch.peers)["impairment"]
        counters = _queue(answer["queues"], interface, branch.peers)["counters"]
        dropped = sum(counters[kind] for kind in ("dropped_queue", "dropped_user", "dropped_asked"))
        found.append(
            {
                "configured": _checked(configured, branch.impairment),
                "counters": counters | {"dropped": dropped},
            }
        )
    return found


def _set(
    helper: Helper, interface: str, peers: Sequence[str], to: Impairment, at_ms: float | None = None
) -> dict[str, Any]:
    return helper.ask(
        do="set",
        backend=name,
        interface=interface,
        peers=list(peers),
        impairment=_document(to),
        at_mono_ms=at_ms,
    )


def _document(impairment: Impairment) -> dict[str, Any]:
    document = impairment.to_json() | {"limit_packets": argv.limit_packets(impairment)}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in document.items()}


def _checked(configured: Mapping[str, Any], wanted: Impairment) -> dict[str, Any]:
    if configured != _document(wanted):
        raise HostCannot(f"the delay line holds {configured} where {_document(wanted)} was asked")
    return dict(configured)


def _queue(queues: Sequence[Mapping[str, Any]], interface: str, peers: Sequence[str]) -> Mapping[str, Any]:
    for queue in queues:
        if queue["peers"] == list(peers):
            return queue
    raise LabError(f"{interface}: the delay line's queue to {', '.join(peers) or 'all'} has vanished")
