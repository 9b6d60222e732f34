"""The iptables rules that hand packets to the delay line.

`raw/OUTPUT` sees every IP packet that the node sends, after routing and before connection tracking. Later
hooks are a trap: the first packets of a flow would be held while their connection is unconfirmed, and all
but one of them be dropped when they are released (Docker's resolver turns tracking on in its containers).
There is no `--queue-bypass`: with nobody on the queue, packets are dropped. Copies that the delay line
sends carry its mark and pass. ARP is no IP and passes undelayed (kernel netem delays it too).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from pathlib import Path

from . import command
from .delayline import COPY_MARK

_ADDRESSES_V6 = Path("/proc/net/if_inet6")
_TABLE = ("-t", "raw")
_CHAIN = "OUTPUT"
_COUNTED = re.compile(r"--queue-num (\d+).* -c (\d+) (\d+)|-c (\d+) (\d+) .*--queue-num (\d+)")


def queue_rules(interface: str, peers: Sequence[str], queue: int, ipv6: bool) -> list[list[str]]:
    """Commands that send what leaves `interface` (to `peers`; none: to all) to the queue."""
    families = {4: "iptables", 6: "ip6tables"}
    if not peers:
        tools = ["iptables", "ip6tables"] if ipv6 else ["iptables"]
        return [[tool, *_TABLE, "-A", *_rule(interface, queue)] for tool in tools]
    return [
        [families[ipaddress.ip_network(peer).version], *_TABLE, "-I", *_rule(interface, queue, peer)]
        for peer in peers
    ]


def without(rules: Sequence[Sequence[str]]) -> list[list[str]]:
    """The commands that take the rules away again."""
    return [["-D" if word in ("-A", "-I") else word for word in rule] for rule in rules]


def has_ipv6(interface: str) -> bool:
    """Whether the interface speaks IPv6, so that it needs rules of its own."""
    if not _ADDRESSES_V6.exists():
        return False
    return any(line.split()[-1] == interface for line in _ADDRESSES_V6.read_text().splitlines())


async def run_all(rules: Sequence[Sequence[str]]) -> None:
    """Run the commands in order. Raises Refused."""
    for rule in rules:
        await command.run(rule)


async def seen() -> dict[int, dict[str, int]]:
    """Queue number → `packets` and `bytes` that the IPv4 rules matched, before any segmentation."""
    table: dict[int, dict[str, int]] = {}
    for line in (await command.run(["iptables", *_TABLE, "-v", "-S", _CHAIN])).splitlines():
        if match := _COUNTED.search(line):
            groups = match.groups()
            number, packets, size = (int(g) for g in (groups[:3] if groups[0] else (groups[5], *groups[3:5])))
            entry = table.setdefault(number, {"packets": 0, "bytes": 0})
            entry["packets"] += packets
            entry["bytes"] += size
    return table


async def can_queue() -> str | None:
    """None if iptables knows NFQUEUE, else why not. Tries it in a chain that no packet enters."""
    chain = "LAB-PROBE"
    try:
        await command.run(["iptables", *_TABLE, "-N", chain])
        try:
            await command.run(["iptables", *_TABLE, "-A", chain, "-j", "NFQUEUE", "--queue-num", "0"])
            await command.run(["iptables", *_TABLE, "-F", chain])
        finally:
            await command.run(["iptables", *_TABLE, "-X", chain])
    except command.Refused as refused:
        return str(refused)
    return None


def _rule(interface: str, queue: int, peer: str | None = None) -> list[str]:
    to = ["-d", peer] if peer else []
    unmarked = ["-m", "mark", "!", "--mark", hex(COPY_MARK)]
    return [_CHAIN, "-o", interface, *to, *unmarked, "-j", "NFQUEUE", "--queue-num", str(queue)]
