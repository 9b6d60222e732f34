"""Checks of the kernel's counters: drops and retransmissions."""

from __future__ import annotations

from collections.abc import Iterator

from lab.analysis.checks.links import loses
from lab.analysis.checks.trial_view import SERVER, Result, TrialView, graded

COUNTERS = {
    "listen_overflows": ("connections met a full accept queue", "raise `backlog`, or lower `spawn-rate`"),
    "syn_retransmits": ("SYNs retransmitted, after 1 s or more", "raise `backlog`, or lower `spawn-rate`"),
    "retransmits": ("segments retransmitted", "see what drops packets: `ip -s link`, `nstat`"),
    "udp_receive_errors": (
        "datagrams dropped by a full receive buffer", "use a lower load: UDP has no flow control"
    ),
    "udp_send_errors": ("datagrams dropped by a full send buffer", "use a lower load"),
}  # fmt: skip


def kernel_counters(view: TrialView) -> Iterator[Result]:
    """Growth of the kernel's drop and retransmission counters over the whole trial, node by node."""
    nodes = (SERVER, *view.swarm.worker_nodes)
    lossy = any(map(loses, view.trial.links))
    for metric, (what, remedy) in COUNTERS.items():
        if lossy and "retransmits" in metric:
            continue
        grown = {node: view.growth(node, "sockets", metric) for node in nodes}
        where = ", ".join(f"{node} {number:,.0f}" for node, number in grown.items() if number > 0)
        total = sum(number for number in grown.values() if number > 0)
        yield from graded("kernel_counter", total, f"{what}: {where}", remedy)
    dropped = view.growth("host", "host", "softnet_dropped")
    says = f"{dropped:,.0f} packets dropped by a full backlog of this host (softnet)"
    yield from graded(
        "kernel_counter", dropped, says, f"{view.lower_load}, or raise net.core.netdev_max_backlog"
    )
