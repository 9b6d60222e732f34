"""Run a tool of the host whose output goes into a log file, with a deadline."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.common.errors import HostCannot


def run_logged(
    what: str, argv: Sequence[str], log: Path, deadline_s: float, environment: Mapping[str, str] | None = None
) -> int:
    """Run a command that messages call `what`, append its output to `log`, return its exit code.

    Standard input is empty, so that the command cannot ask. Raises HostCannot at the deadline.
    """
    with log.open("ab") as file:
        try:
            return subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment,
                timeout=deadline_s,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            raise HostCannot(f"{what} did not end within {deadline_s:g} s; its log: {log}") from None


def last_lines(log: Path, count: int = 3) -> str:
    """Return the last lines of a log that are not empty, in one line."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return " | ".join(lines[-count:])
