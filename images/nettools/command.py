"""Run one of the kernel's tools, with a deadline and its own words when it fails."""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Sequence

DEADLINE_S = 5.0


class Refused(Exception):
    """A command that cannot be done: one line that says which and why."""


async def run(argv: Sequence[str]) -> str:
    """Standard output of the command. Raises Refused when it fails or takes longer than 5 s."""
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except FileNotFoundError as error:
        raise Refused(f"{argv[0]}: not installed") from error
    try:
        out, err = await asyncio.wait_for(process.communicate(), DEADLINE_S)
    except TimeoutError as error:
        process.kill()
        raise Refused(f"{shlex.join(argv)}: no answer within {DEADLINE_S} s") from error
    if process.returncode:
        words = " ".join(err.decode(errors="replace").split()) or "failed without a word"
        raise Refused(f"{shlex.join(argv)}: {words}")
    return out.decode()


async def run_json(argv: Sequence[str]) -> list[dict[str, object]]:
    """The JSON array that the command prints. Raises Refused."""
    out = await run(argv)
    try:
        parsed: list[dict[str, object]] = json.loads(out or "[]")
    except ValueError as error:
        raise Refused(f"{shlex.join(argv)}: its answer is not JSON: {error}") from error
    return parsed
