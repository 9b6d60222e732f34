"""Run the orchestrator's tc(8) commands, and read back what the kernel has configured.

The orchestrator computes the commands (`lab plan` prints them). One `tc -batch` process runs all tc commands
of a change. It is started beforehand: at the time of the change there is no fork and exec, and its commands
run close together.
"""

from __future__ import annotations

import asyncio
import shlex
import time
from collections.abc import Sequence

from . import command


class Batch:
    """A `tc -batch` process that waits for its commands: a context manager, which ends the process.

    Raises:
        CommandError: A command is neither of tc nor of ip, or a command of ip fails; those run on entry.
    """

    def __init__(self, commands: Sequence[Sequence[str]]) -> None:
        for argv in commands:
            if not argv or argv[0] not in ("tc", "ip"):
                raise command.CommandError(f"commands: only tc and ip are run here, not {list(argv[:1])}")
        self._ip_commands = [argv for argv in commands if argv[0] == "ip"]
        self._tc_commands = [argv[1:] for argv in commands if argv[0] == "tc"]

    async def __aenter__(self) -> Batch:
        for argv in self._ip_commands:
            await command.run(argv)
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            "tc", "-batch", "-", stdin=pipe, stdout=pipe, stderr=pipe
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def run(self) -> None:
        """Run the tc commands in order, up to the first that fails.

        Raises:
            CommandError: A command failed, or they took longer than 5 s.
        """
        lines = "".join(f"{shlex.join(argv)}\n" for argv in self._tc_commands)
        try:
            out, err = await asyncio.wait_for(self._process.communicate(lines.encode()), command.DEADLINE_S)
        except TimeoutError as error:
            raise command.CommandError(
                f"tc: no answer within {command.DEADLINE_S} s to {lines.strip()}"
            ) from error
        if self._process.returncode:
            text = " ".join((err or out).decode(errors="replace").split())
            raise command.CommandError(f"tc: {text} (of: {'; '.join(lines.splitlines())})")


async def sleep_until(mono_ms: float | None) -> None:
    """Sleep until that time of CLOCK_MONOTONIC, in ms; not at all for None or a time in the past."""
    if mono_ms is not None:
        await asyncio.sleep(max(mono_ms - time.monotonic_ns() / 1e6, 0) / 1e3)


async def qdiscs(interface: str) -> list[dict[str, object]]:
    """Return the queueing disciplines of the interface with options and statistics, as `tc -j -s` does.

    Raises:
        CommandError: tc failed.
    """
    return await command.run_json(["tc", "-j", "-s", "qdisc", "show", "dev", interface])


async def interfaces() -> dict[str, dict[str, list[str]]]:
    """Return interface name → `addresses` with prefix length, in this network namespace.

    Raises:
        CommandError: ip failed.
    """
    found = {}
    for link in await command.run_json(["ip", "-j", "address", "show"]):
        addresses = link.get("addr_info", [])
        assert isinstance(addresses, list)
        found[str(link["ifname"])] = {
            "addresses": [f"{a['local']}/{a['prefixlen']}" for a in addresses if "local" in a]
        }
    return found
