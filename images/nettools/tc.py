"""tc(8): run what the orchestrator planned, and read back what the kernel made of it.

Which commands to run is the orchestrator's to say (`lab plan` prints them for a person); here they are run.
"""

from __future__ import annotations

from collections.abc import Sequence

from . import command

_ALLOWED = ("tc", "ip")


async def run_all(commands: Sequence[Sequence[str]]) -> None:
    """Run the commands in order; the first that fails ends it. Raises Refused, also for any other program."""
    for argv in commands:
        if not argv or argv[0] not in _ALLOWED:
            raise command.Refused(f"commands: only {' and '.join(_ALLOWED)} are run here, not {argv[:1]}")
    for argv in commands:
        await command.run(argv)


async def qdiscs(interface: str) -> list[dict[str, object]]:
    """All queueing disciplines of the interface, their options and statistics, as `tc -j -s` has them."""
    return await command.run_json(["tc", "-j", "-s", "qdisc", "show", "dev", interface])


async def interfaces() -> dict[str, dict[str, list[str]]]:
    """Name → `addresses` with prefix length, of this network namespace."""
    found = {}
    for link in await command.run_json(["ip", "-j", "address", "show"]):
        addresses = link.get("addr_info", [])
        assert isinstance(addresses, list)
        found[str(link["ifname"])] = {
            "addresses": [f"{a['local']}/{a['prefixlen']}" for a in addresses if "local" in a]
        }
    return found
