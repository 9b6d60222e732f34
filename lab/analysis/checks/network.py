"""Checks of the kernel's counters: what it dropped or sent again."""

from __future__ import annotations

from collections.abc import Iterator

from lab.analysis.checks.evidence import SERVER, Evidence, NoData, Said, graded
from lab.analysis.checks.links import loses, ways

COUNTERS = {
    "listen_overflows": ("connections met a full accept queue", "raise `backlog`, or lower spawn-rate"),
    "syn_retransmits": ("SYNs were sent again, 1 s or more later", "raise `backlog`, or lower spawn-rate"),
    "retransmits": ("segments were sent again", "look for drops on the link and in the host's queues"),
    "udp_receive_errors": ("datagrams met a full receive buffer", "lower the rate: UDP has no flow control"),
    "udp_send_errors": ("datagrams met a full send buffer", "lower the rate"),
}  # fmt: skip


def kernel_counters(e: Evidence) -> Iterator[Said]:
    """Growth of the kernel's drop and retransmit counters over the whole trial, node by node."""
    nodes = e.nodes("sockets")
    if SERVER not in nodes:
        raise NoData("the kernel's counters of the server's network namespace were not sampled")
    lossy = any(loses(way) for link in e.trial.links for way in ways(link))
    for metric, (what, remedy) in COUNTERS.items():
        if lossy and "retransmits" in metric:
            continue
        grown = {node: e.growth(node, "sockets", metric) for node in nodes}
        where = ", ".join(f"{node} {number:,.0f}" for node, number in grown.items() if number > 0)
        total = sum(number for number in grown.values() if number > 0)
        yield from graded("kernel_counter", total, f"{what}: {where}", remedy)
    dropped = e.growth("host", "host", "softnet_dropped")
    says = f"this host dropped {dropped:,.0f} packets for want of time (softnet)"
    yield from graded("kernel_counter", dropped, says, "raise net.core.netdev_max_backlog, or lower the rate")
