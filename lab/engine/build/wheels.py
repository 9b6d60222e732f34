"""Install the wheels of an image on the host: by hash, for the image's Python and machine, none compiled."""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

from lab.common.errors import HostCannot
from lab.common.notify import Notify
from lab.common.progress import step
from lab.engine.build.context import IMAGE_PYTHON, compile_all
from lab.engine.logged import last_lines, run_logged

# Debian 12 has glibc 2.36: these tags of PEP 600 (and their older names) run on it.
MANYLINUX = ("manylinux2014", "manylinux_2_17", "manylinux_2_28", "manylinux_2_34")
INSTALL_S = 600.0


def platforms(machine: str) -> list[str]:
    """Return pip's --platform names for a machine such as x86_64."""
    return [f"{name}_{machine}" for name in MANYLINUX]


def pip_argv(requirements: Path, target: Path, machine: str) -> list[str]:
    """Return pip's command line. The requirements are complete and hashed, so nothing is resolved."""
    argv = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--no-input",
        "--disable-pip-version-check",
        "--no-compile",
    ]
    argv += ["--no-deps", "--require-hashes", "--only-binary=:all:", "--implementation", "cp"]
    argv += ["--python-version", IMAGE_PYTHON, "--target", str(target)]
    for platform in platforms(machine):
        argv += ["--platform", platform]
    return [*argv, "-r", str(requirements)]


def install_wheels(requirements: Path, machine: str, build: Path, notify: Notify) -> Path:
    """Return the folder of the installed wheels, made once per content of `requirements`.

    Raises HostCannot.
    """
    key = hashlib.sha256(requirements.read_bytes() + machine.encode()).hexdigest()[:12]
    folder = build / f"wheels-{requirements.stem}-{key}"
    if folder.exists():
        return folder
    log = build / f"wheels-{requirements.stem}.log"
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    log.unlink(missing_ok=True)
    with step(notify, f"wheels of the {requirements.stem} image"):
        code = run_logged("pip", pip_argv(requirements, part, machine), log, INSTALL_S)
    if code:
        raise HostCannot(f"pip could not install {requirements.name}: {last_lines(log, 2)}; its log: {log}")
    shutil.rmtree(part / "bin", ignore_errors=True)
    compile_all(part, notify)
    part.rename(folder)
    return folder
