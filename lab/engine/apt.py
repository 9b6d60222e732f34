"""Install Debian packages on this host; apt's output goes into a log."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from lab.common.errors import HostCannot
from lab.common.notify import Notify
from lab.common.progress import step
from lab.engine.logged import last_lines, run_logged

INSTALL_S = 600.0


def can_install() -> bool:
    """Return whether this process may install: it is root on a Debian-like system."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(packages: Iterable[str], log: Path, notify: Notify) -> None:
    """Install packages. Raises HostCannot with the command to run where that fails or is not allowed."""
    names = list(packages)
    command = f"apt-get install {' '.join(names)}"
    if not can_install():
        raise HostCannot(f"{', '.join(names)} is missing: as root on a Debian-like system, run {command}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with step(notify, f"installing {', '.join(names)} (log: {log})"):
        for arguments in (["update"], ["install", "-y", "--no-install-recommends", *names]):
            code = run_logged(f"apt-get {arguments[0]}", ["apt-get", *arguments], log, INSTALL_S, environment)
            if code and arguments[0] == "install":
                raise HostCannot(f"{command} failed ({code}): {last_lines(log)}; its log: {log}")
