"""Debian's packages on this host: what may be installed, and installing it with its noise in a log."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from lab.common.errors import HostCannot
from lab.common.notify import Notify
from lab.common.progress import step

INSTALL_S = 600.0


def may_install() -> bool:
    """Root on a Debian-like system."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(packages: Iterable[str], log: Path, notify: Notify) -> None:
    """Install packages. Raises HostCannot with the command to run where this process may not, or it fails."""
    names = list(packages)
    command = f"apt-get install {' '.join(names)}"
    if not may_install():
        raise HostCannot(f"{', '.join(names)} is missing: as root on a Debian-like system, {command}")
    with step(notify, f"installing {', '.join(names)} (log: {log})"):
        for arguments in (["update"], ["install", "-y", "--no-install-recommends", *names]):
            code = _apt(arguments, log)
            if code and arguments[0] == "install":
                tail = log.read_text(errors="replace").splitlines()[-3:]
                raise HostCannot(f"{command} failed ({code}): {' | '.join(tail)}; the log: {log}")


def _apt(arguments: list[str], log: Path) -> int:
    """Its exit code. The log is appended to; standard input is none, so that it cannot ask."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with log.open("ab") as file:
        try:
            return subprocess.run(
                ["apt-get", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment,
                timeout=INSTALL_S,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            raise HostCannot(
                f"apt-get {arguments[0]} did not end within {INSTALL_S:g} s; the log: {log}"
            ) from None
