"""The iptables rules that send packets to the delay line.

Every IP packet that the node sends passes `raw/OUTPUT`, after routing and before connection tracking. A later
hook would be wrong: it would hold the first packets of a flow while their connection is unconfirmed, and on
release the kernel drops all but one of them (Docker's resolver enables tracking in its containers). The rules
have no `--queue-bypass`: without a process on the queue, packets are dropped. Copies that the delay line
sends carry its mark and are not queued. ARP is not IP and passes undelayed; kernel netem delays it too.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from pathlib import Path

from . import command
from .delay_queue import COPY_MARK

_IF_INET6 = Path("/proc/net/if_inet6")
_TABLE = ("-t", "raw")
_CHAIN = "OUTPUT"
_COUNTERS = re.compile(r"--queue-num (\d+).* -c (\d+) (\d+)|-c (\d+) (\d+) .*--queue-num (\d+)")


def queue_rules(interface: str, peers: Sequence[str], queue: int, ipv6: bool) -> list[list[str]]:
    """Return the commands that queue what `interface` sends to `peers`; without peers, to all."""
    families = {4: "iptables", 6: "ip6tables"}
    if not peers:
        tools = ["iptables", "ip6tables"] if ipv6 else ["iptables"]
        return [[tool, *_TABLE, "-A", *_rule(interface, queue)] for tool in tools]
    return [
        [families[ipaddress.ip_network(peer).version], *_TABLE, "-I", *_rule(interface, queue, peer)]
        for peer in peers
    ]


def deletions(rules: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return the commands that delete these rules."""
    return [["-D" if word in ("-A", "-I") else word for word in rule] for rule in rules]


def has_ipv6(interface: str) -> bool:
    """Return whether the interface has an IPv6 address, so that it needs ip6tables rules."""
    if not _IF_INET6.exists():
        return False
    return any(line.split()[-1] == interface for line in _IF_INET6.read_text().splitlines())


async def run_all(rules: Sequence[Sequence[str]]) -> None:
    """Run the commands in order.

    Raises:
        CommandError: A command failed; those after it are not run.
    """
    for rule in rules:
        await command.run(rule)


async def matched() -> dict[int, dict[str, int]]:
    """Return queue number → `packets` and `bytes` that its IPv4 rules matched, before any segmentation.

    Raises:
        CommandError: iptables failed.
    """
    table: dict[int, dict[str, int]] = {}
    for line in (await command.run(["iptables", *_TABLE, "-v", "-S", _CHAIN])).splitlines():
        if match := _COUNTERS.search(line):
            groups = match.groups()
            number, packets, size = (int(g) for g in (groups[:3] if groups[0] else (groups[5], *groups[3:5])))
            entry = table.setdefault(number, {"packets": 0, "bytes": 0})
            entry["packets"] += packets
            entry["bytes"] += size
    return table


async def nfqueue_target_missing() -> str | None:
    """Return None if iptables has the target NFQUEUE, else the reason; uses a chain that no packet enters."""
    chain = "LAB-PROBE"
    try:
        await command.run(["iptables", *_TABLE, "-N", chain])
        try:
            await command.run(["iptables", *_TABLE, "-A", chain, "-j", "NFQUEUE", "--queue-num", "0"])
            await command.run(["iptables", *_TABLE, "-F", chain])
        finally:
            await command.run(["iptables", *_TABLE, "-X", chain])
    except command.CommandError as error:
        return str(error)
    return None


def _rule(interface: str, queue: int, peer: str | None = None) -> list[str]:
    to = ["-d", peer] if peer else []
    unmarked = ["-m", "mark", "!", "--mark", hex(COPY_MARK)]
    return [_CHAIN, "-o", interface, *to, *unmarked, "-j", "NFQUEUE", "--queue-num", str(queue)]
