"""tc(8) commands as argument lists, computed and never run here: `lab plan` prints them, a helper runs them.

Every object has a fixed handle, and the verb is `replace`: with the handle of an existing object of its
kind the kernel changes it in place and keeps the packets it holds. So the same command creates and changes.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Sequence
from dataclasses import dataclass

from lab.scenario.impairment import Impairment

Argv = list[str]
# Packets a second that a queue must be able to hold for its whole delay when no rate bounds them. netem's own
# default of 1000 packets drops silently from 50,000 packets/s × 20 ms on (iproute2 issue 56).
PACKETS_MAX_PER_S = 1_000_000
HEAD_ROOM = 1.5
LIMIT_MIN_PACKETS = 1000
FRAME_BYTES, FRAME_MIN_BYTES = 1514, 64
QUEUE_OF_RATE_S = 0.1  # what a rate link queues before it drops: a router's buffer of 100 ms
JITTER_REACH = 4  # standard deviations: NormalDist's tail of iproute2's table ends there
IN_ORDER_RATE = "100gbit"  # with any rate netem keeps the order of packets; this one costs 0.12 µs a frame
GSO_SEGMENTS_MAX = 65_535


@dataclass(frozen=True)
class Branch:
    """What leaves an interface to `peers` (none: to everyone else) and how it is impaired."""

    peers: tuple[str, ...]
    impairment: Impairment


def limit_packets(impairment: Impairment) -> int:
    """Length of the queue: what was asked for, else rate × delay with head-room.

    With a rate: what the link holds during its delay if all packets are small, and 100 ms of full-size ones.
    """
    if impairment.limit_packets is not None:
        return impairment.limit_packets
    delay_s = (impairment.delay_ms + JITTER_REACH * impairment.jitter_ms) / 1e3
    if impairment.rate_bit_per_s is None:
        return max(math.ceil(PACKETS_MAX_PER_S * delay_s * HEAD_ROOM), LIMIT_MIN_PACKETS)
    rate_bytes_per_s = impairment.rate_bit_per_s / 8
    under_way = rate_bytes_per_s * delay_s / FRAME_MIN_BYTES
    queued = max(rate_bytes_per_s * QUEUE_OF_RATE_S / FRAME_BYTES, 10)
    return math.ceil(under_way * HEAD_ROOM + queued)


def netem_argv(
    interface: str, impairment: Impairment, parent: str = "root", handle: str = "1:", in_order: bool = False
) -> Argv:
    """`tc qdisc replace … netem …` for one impairment, at the root or below a class.

    `in_order` keeps packets in order even when a change shortens the delay of those that follow.
    """
    place = ["root"] if parent == "root" else ["parent", parent]
    argv = ["tc", "qdisc", "replace", "dev", interface, *place, "handle", handle, "netem"]
    return argv + _netem_options(impairment, in_order) + ["limit", str(limit_packets(impairment))]


def build(interface: str, branches: Sequence[Branch]) -> list[Argv]:
    """The commands that impair an interface: one netem at the root, or a class of htb for each set of peers.

    The branch without peers takes what the others leave; without one, that passes untouched. Unclassified
    packets go past htb's classes, and so does ARP.
    """
    commands = _segment_argv(interface) if _needs_segments(branches) else []
    if len(branches) == 1 and not branches[0].peers:
        return [*commands, netem_argv(interface, branches[0].impairment)]
    default = next((_minor(i) for i, branch in enumerate(branches) if not branch.peers), "0")
    commands.append(f"tc qdisc replace dev {interface} root handle 1: htb default {default}".split())
    for index, branch in enumerate(branches):
        minor = _minor(index)
        place = f"tc class replace dev {interface} parent 1: classid 1:{minor}"
        commands.append(f"{place} htb rate 100gbit quantum 60000".split())
        commands.append(netem_argv(interface, branch.impairment, f"1:{minor}", f"{minor}:"))
        commands += [_filter_argv(interface, peer, minor) for peer in branch.peers]
    return commands


def change(interface: str, branches: Sequence[Branch], index: int, to: Impairment) -> list[Argv]:
    """The commands that change one branch of what `build` made, in place."""
    commands = [] if to.constant else _segment_argv(interface)
    if len(branches) == 1 and not branches[0].peers:
        return [*commands, netem_argv(interface, to, in_order=True)]
    minor = _minor(index)
    return [*commands, netem_argv(interface, to, f"1:{minor}", f"{minor}:", in_order=True)]


def clear(interface: str) -> list[Argv]:
    """The commands that take everything away again."""
    return [
        f"tc qdisc del dev {interface} root".split(),
        f"ip link set dev {interface} gso_max_segs {GSO_SEGMENTS_MAX}".split(),
    ]


def handle(branches: Sequence[Branch], index: int) -> str:
    """The handle of a branch's netem in what `build` made."""
    return "1:" if len(branches) == 1 and not branches[0].peers else f"{_minor(index)}:"


def _minor(index: int) -> str:
    return f"{index + 0x10:x}"


def _filter_argv(interface: str, peer: str, minor: str) -> Argv:
    network = ipaddress.ip_network(peer)
    protocol, match = ("ip", "ip") if network.version == 4 else ("ipv6", "ip6")
    # An exact address goes before a prefix that holds it: a lower priority number is tried first.
    priority = 1 + network.max_prefixlen - network.prefixlen + (0 if network.version == 4 else 200)
    return (
        f"tc filter add dev {interface} parent 1: protocol {protocol} prio {priority} "
        f"u32 match {match} dst {network} flowid 1:{minor}"
    ).split()


def _needs_segments(branches: Sequence[Branch]) -> bool:
    return any(not branch.impairment.constant for branch in branches)


def _segment_argv(interface: str) -> list[Argv]:
    """Make TCP send single segments: netem would lose, delay or count a GSO packet of 64 KiB as one.

    Open connections learn it when their route is looked up again, which flushing the cache forces.
    """
    return [f"ip link set dev {interface} gso_max_segs 1".split(), ["ip", "route", "flush", "cache"]]


def _netem_options(impairment: Impairment, in_order: bool) -> Argv:
    options: Argv = []
    if impairment.delay_ms:
        options += ["delay", _milliseconds(impairment.delay_ms)]
        if impairment.jitter_ms:
            options += [_milliseconds(impairment.jitter_ms), *_correlated(impairment.delay_correlation)]
    if impairment.distribution != "uniform":
        options += ["distribution", impairment.distribution]
    options += _loss_options(impairment)
    for name in ("corrupt", "duplicate", "reorder"):
        if share := getattr(impairment, name):
            options += [name, _percent(share), *_correlated(getattr(impairment, f"{name}_correlation"))]
    if impairment.reorder_gap > 1:
        options += ["gap", str(impairment.reorder_gap)]
    if impairment.rate_bit_per_s is not None:
        options += ["rate", f"{round(impairment.rate_bit_per_s)}bit"]
    elif (impairment.jitter_ms or in_order) and not impairment.reorder:
        options += ["rate", IN_ORDER_RATE]
    return options


def _loss_options(impairment: Impairment) -> Argv:
    if impairment.loss_state is not None:
        return ["loss", "state", *(_percent(share) for share in impairment.loss_state)]
    if impairment.loss_gemodel is not None:
        return ["loss", "gemodel", *(_percent(share) for share in impairment.loss_gemodel)]
    if impairment.loss:
        return ["loss", "random", _percent(impairment.loss), *_correlated(impairment.loss_correlation)]
    return []


def _correlated(correlation: float) -> Argv:
    return [_percent(correlation)] if correlation else []


def _percent(share: float) -> str:
    return f"{share * 100:.10g}%"


def _milliseconds(value_ms: float) -> str:
    return f"{value_ms:.10g}ms"
