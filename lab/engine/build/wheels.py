"""Wheels for an image, laid out on the host: by hash, for the image's Python and machine, none compiled."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from lab.common.errors import HostCannot
from lab.common.notify import Notify
from lab.common.progress import step
from lab.engine.build.context import IMAGE_PYTHON, compile_all

# Debian 12 has glibc 2.36: these tags of PEP 600 (and their older names) run on it.
MANYLINUX = ("manylinux2014", "manylinux_2_17", "manylinux_2_28", "manylinux_2_34")
INSTALL_S = 600.0


def platforms(machine: str) -> list[str]:
    """pip's --platform names for a machine such as x86_64."""
    return [f"{name}_{machine}" for name in MANYLINUX]


def pip_argv(requirements: Path, target: Path, machine: str) -> list[str]:
    """pip's command line. The requirements are complete and hashed, so nothing is resolved."""
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


def laid_out(requirements: Path, machine: str, build: Path, notify: Notify) -> Path:
    """The folder of the installed wheels, made once per content of `requirements`. Raises HostCannot."""
    key = hashlib.sha256(requirements.read_bytes() + machine.encode()).hexdigest()[:12]
    folder = build / f"wheels-{requirements.stem}-{key}"
    if folder.exists():
        return folder
    log = build / f"wheels-{requirements.stem}.log"
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    with step(notify, f"wheels of the {requirements.stem} image"), log.open("wb") as file:
        argv = pip_argv(requirements, part, machine)
        try:
            code = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                timeout=INSTALL_S,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            raise HostCannot(f"pip did not end within {INSTALL_S:g} s; its log: {log}") from None
    if code:
        tail = [line for line in log.read_text(errors="replace").splitlines() if line.strip()][-2:]
        raise HostCannot(f"pip could not lay out {requirements.name}: {' | '.join(tail)}; its log: {log}")
    shutil.rmtree(part / "bin", ignore_errors=True)
    compile_all(part, notify)
    part.rename(folder)
    return folder
