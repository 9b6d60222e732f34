"""tc(8) commands as argument lists. Pure: `lab plan` prints them, a helper runs them.

Every object has a fixed handle and the verb is `replace`: the kernel changes an existing object of that kind
and handle in place and keeps its packets, so that one command creates and changes.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Sequence

from lab.impair.link import Egress
from lab.scenario.impairment import Impairment

Argv = list[str]
# Without a rate, a queue must hold this packet rate for its whole delay. netem's default limit, 1000 packets,
# is full at 50,000 packets/s × 20 ms; netem then drops silently (iproute2 issue 56).
PACKETS_MAX_PER_S = 1_000_000
HEAD_ROOM = 1.5
LIMIT_MIN_PACKETS = 1000
FRAME_BYTES, FRAME_MIN_BYTES = 1514, 64
RATE_QUEUE_S = 0.1  # the queue of a link with a rate: a router's buffer of 100 ms
JITTER_REACH = 4  # standard deviations: iproute2's table of the normal distribution ends there
IN_ORDER_RATE = "100gbit"  # netem keeps the order of packets only with a rate; this one takes 0.12 µs a frame
GSO_SEGMENTS_MAX = 65_535


def limit_packets(impairment: Impairment) -> int:
    """Return the length of the queue: as requested, else rate × delay with head-room.

    With a rate: the packets of one delay if all of them are small, and 100 ms of full-size packets.
    """
    if impairment.limit_packets is not None:
        return impairment.limit_packets
    delay_s = (impairment.delay_ms + JITTER_REACH * impairment.jitter_ms) / 1e3
    if impairment.rate_bit_per_s is None:
        return max(math.ceil(PACKETS_MAX_PER_S * delay_s * HEAD_ROOM), LIMIT_MIN_PACKETS)
    rate_bytes_per_s = impairment.rate_bit_per_s / 8
    delayed = rate_bytes_per_s * delay_s / FRAME_MIN_BYTES
    queued = max(rate_bytes_per_s * RATE_QUEUE_S / FRAME_BYTES, 10)
    return math.ceil(delayed * HEAD_ROOM + queued)


def netem_argv(
    interface: str, impairment: Impairment, parent: str = "root", handle: str = "1:", in_order: bool = False
) -> Argv:
    """Return `tc qdisc replace … netem …` for one impairment, at the root or below a class.

    `in_order` keeps the order of packets although a change shortens the delay of later ones.
    """
    place = ["root"] if parent == "root" else ["parent", parent]
    argv = ["tc", "qdisc", "replace", "dev", interface, *place, "handle", handle, "netem"]
    return argv + _netem_options(impairment, in_order) + ["limit", str(limit_packets(impairment))]


def build(interface: str, egresses: Sequence[Egress]) -> list[Argv]:
    """Return the commands that impair an interface: a netem at the root, or an htb class per set of peers.

    The egress without peers is htb's default class. Without one, packets to other hosts pass unimpaired, and
    so does ARP.
    """
    commands = _segment_argv(interface) if _needs_segments(egresses) else []
    if len(egresses) == 1 and not egresses[0].peers:
        return [*commands, netem_argv(interface, egresses[0].impairment)]
    default = next((_minor(i) for i, egress in enumerate(egresses) if not egress.peers), "0")
    commands.append(f"tc qdisc replace dev {interface} root handle 1: htb default {default}".split())
    for index, egress in enumerate(egresses):
        minor = _minor(index)
        place = f"tc class replace dev {interface} parent 1: classid 1:{minor}"
        commands.append(f"{place} htb rate 100gbit quantum 60000".split())
        commands.append(netem_argv(interface, egress.impairment, f"1:{minor}", f"{minor}:"))
        commands += [_filter_argv(interface, peer, minor) for peer in egress.peers]
    return commands


def change(interface: str, egresses: Sequence[Egress], index: int, to: Impairment) -> list[Argv]:
    """Return the commands that change one egress in place, after `build`."""
    commands = [] if to.constant else _segment_argv(interface)
    if len(egresses) == 1 and not egresses[0].peers:
        return [*commands, netem_argv(interface, to, in_order=True)]
    minor = _minor(index)
    return [*commands, netem_argv(interface, to, f"1:{minor}", f"{minor}:", in_order=True)]


def clear(interface: str) -> list[Argv]:
    """Return the commands that undo `build`."""
    return [
        f"tc qdisc del dev {interface} root".split(),
        f"ip link set dev {interface} gso_max_segs {GSO_SEGMENTS_MAX}".split(),
    ]


def handle(egresses: Sequence[Egress], index: int) -> str:
    """Return the handle of the netem that `build` made for an egress."""
    return "1:" if len(egresses) == 1 and not egresses[0].peers else f"{_minor(index)}:"


def _minor(index: int) -> str:
    return f"{index + 0x10:x}"


def _filter_argv(interface: str, peer: str, minor: str) -> Argv:
    network = ipaddress.ip_network(peer)
    protocol, match = ("ip", "ip") if network.version == 4 else ("ipv6", "ip6")
    # A longer prefix is matched first: filters are tried in ascending order of priority.
    priority = 1 + network.max_prefixlen - network.prefixlen + (0 if network.version == 4 else 200)
    return (
        f"tc filter add dev {interface} parent 1: protocol {protocol} prio {priority} "
        f"u32 match {match} dst {network} flowid 1:{minor}"
    ).split()


def _needs_segments(egresses: Sequence[Egress]) -> bool:
    return any(not egress.impairment.constant for egress in egresses)


def _segment_argv(interface: str) -> list[Argv]:
    """Make TCP send single segments: netem loses, delays or counts a GSO packet of 64 KiB as one.

    An open connection sees the change when it looks its route up again; flushing the cache forces that.
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
