"""tc(8): run what the orchestrator planned, and read back what the kernel made of it.

Which commands to run is the orchestrator's to say (`lab plan` prints them for a person); here they are run.
All of tc's go to one `tc -batch` process that is started beforehand, so that a timed change costs no fork
and exec at its moment and the commands of one change come close together.
"""

from __future__ import annotations

import asyncio
import shlex
import time
from collections.abc import Sequence

from . import command


class Batch:
    """A `tc -batch` process that waits for its commands. Use as a context: it is gone at the end."""

    def __init__(self, commands: Sequence[Sequence[str]]) -> None:
        for argv in commands:
            if not argv or argv[0] not in ("tc", "ip"):
                raise command.Refused(f"commands: only tc and ip are run here, not {list(argv[:1])}")
        self._before = [argv for argv in commands if argv[0] == "ip"]
        self._commands = [argv[1:] for argv in commands if argv[0] == "tc"]

    async def __aenter__(self) -> Batch:
        for argv in self._before:
            await command.run(argv)
        pipe = asyncio.subprocess.PIPE
        self._tc = await asyncio.create_subprocess_exec(
            "tc", "-batch", "-", stdin=pipe, stdout=pipe, stderr=pipe
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._tc.returncode is None:
            self._tc.kill()
            await self._tc.wait()

    async def run(self) -> None:
        """Run the commands in order, now; the first that fails ends it. Raises Refused."""
        lines = "".join(f"{shlex.join(argv)}\n" for argv in self._commands)
        try:
            out, err = await asyncio.wait_for(self._tc.communicate(lines.encode()), command.DEADLINE_S)
        except TimeoutError as error:
            raise command.Refused(
                f"tc: no answer within {command.DEADLINE_S} s to {lines.strip()}"
            ) from error
        if self._tc.returncode:
            words = " ".join((err or out).decode(errors="replace").split())
            raise command.Refused(f"tc: {words} (of: {'; '.join(lines.splitlines())})")


async def until(mono_ms: float | None) -> None:
    """Sleep until that moment of CLOCK_MONOTONIC; None or the past is now."""
    if mono_ms is not None:
        await asyncio.sleep(max(mono_ms - time.monotonic_ns() / 1e6, 0) / 1e3)


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
