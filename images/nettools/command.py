"""Run tc, ip or iptables with a deadline; a failure carries its error message."""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Sequence

DEADLINE_S = 5.0


class CommandError(Exception):
    """A command failed; one line says which and why."""


async def run(argv: Sequence[str]) -> str:
    """Run a command; return its standard output.

    Raises:
        CommandError: It is not installed, fails, or takes longer than 5 s.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except FileNotFoundError as error:
        raise CommandError(f"{argv[0]}: not installed") from error
    try:
        out, err = await asyncio.wait_for(process.communicate(), DEADLINE_S)
    except TimeoutError as error:
        process.kill()
        raise CommandError(f"{shlex.join(argv)}: no answer within {DEADLINE_S} s") from error
    if process.returncode:
        text = (
            " ".join(err.decode(errors="replace").split())
            or f"failed with exit code {process.returncode} and no message"
        )
        raise CommandError(f"{shlex.join(argv)}: {text}")
    return out.decode()


async def run_json(argv: Sequence[str]) -> list[dict[str, object]]:
    """Run a command that prints a JSON array; return the array.

    Raises:
        CommandError: It fails, takes longer than 5 s, or does not print JSON.
    """
    out = await run(argv)
    try:
        parsed: list[dict[str, object]] = json.loads(out or "[]")
    except ValueError as error:
        raise CommandError(f"{shlex.join(argv)}: its output is not JSON: {error}") from error
    return parsed
