"""Impairments in user space, for kernels without netem: the delay line of the helper holds the packets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from lab.common.errors import HostCannot, LabError
from lab.impair import argv
from lab.impair.answers import Capabilities, Queue, QueueCounters
from lab.impair.helper import Helper
from lab.impair.link import Changed, Egress, Reading, too_short
from lab.scenario.impairment import Impairment

name = "delayline"
stamp = "delay: user space"
# A packet is found and released up to 0.3 ms after it arrives (images/nettools/delayline.py).
LEAST_DELAY_MS = 0.5
Q = TypeVar("Q", Queue, QueueCounters)


def unsupported(
    impairments: Iterable[Impairment],
    can: Capabilities,
    peer_sets: int,  # noqa: ARG001 - there are queues for any number of peers
) -> str | None:
    """Return what this kernel or this helper lacks for them; None if nothing."""
    asked = list(impairments)
    duplicates = any(impairment.duplicate for impairment in asked)
    missing = can.missing("nfqueue") or (can.missing("raw_sockets") if duplicates else None)
    return missing or too_short((one.delay_ms for one in asked), LEAST_DELAY_MS)


def build(helper: Helper, interface: str, egresses: Sequence[Egress]) -> list[Impairment]:
    """Impair the interface; return what the delay line then has for each egress."""
    return [_set(helper, interface, egress.peers, egress.impairment).configured for egress in egresses]


def change(
    helper: Helper,
    interface: str,
    egresses: Sequence[Egress],
    index: int,
    to: Impairment,
    at_mono_ms: float | None,
) -> Changed:
    """Change one egress in place."""
    return _set(helper, interface, egresses[index].peers, to, at_mono_ms)


def clear(helper: Helper, interface: str) -> None:
    """Close the queues; the packets that they hold still leave when due."""
    helper.clear(interface)


def read(helper: Helper, interface: str, egresses: Sequence[Egress]) -> list[Reading]:
    """Read each egress back, lateness since the last reading. Raises LabError if a queue has vanished."""
    answer = helper.read(interface)
    return [
        Reading(
            _checked(_of(answer.configured.queues, interface, egress.peers), egress.impairment),
            _of(answer.queues, interface, egress.peers).counters.with_sum(),
        )
        for egress in egresses
    ]


def _set(
    helper: Helper, interface: str, peers: Sequence[str], to: Impairment, at_mono_ms: float | None = None
) -> Changed:
    answer = helper.set_queue(interface, peers, _with_limit(to), at_mono_ms)
    queue = _of(answer.configured.queues, interface, peers)
    return Changed(answer.applied_mono_ms, _checked(queue, to))


def _with_limit(impairment: Impairment) -> Impairment:
    return replace(impairment, limit_packets=argv.limit_packets(impairment))


def _checked(queue: Queue, requested: Impairment) -> Impairment:
    if queue.impairment != _with_limit(requested):
        wanted, found = _with_limit(requested).to_json(), queue.impairment.to_json()
        raise HostCannot(f"the delay line has {found} where {wanted} was requested")
    return queue.impairment


def _of(queues: Sequence[Q], interface: str, peers: Sequence[str]) -> Q:
    for queue in queues:
        if queue.peers == tuple(peers):
            return queue
    raise LabError(f"{interface}: the delay line's queue to {', '.join(peers) or 'all'} has vanished")
