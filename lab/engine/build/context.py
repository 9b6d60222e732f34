"""A build context: files as the Dockerfile copies them, byte-compiled, packed into the same tar each time."""

from __future__ import annotations

import importlib.util
import io
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path

from lab.common.errors import LabError
from lab.common.notify import Notify

# The first bytes of a .pyc of Python 3.11, the image's (importlib.util.MAGIC_NUMBER there).
IMAGE_MAGIC = (3495).to_bytes(2, "little") + b"\r\n"
IMAGE_PYTHON = "3.11"
COMPILE_S = 300.0


def source_files(root: Path, parts: Iterable[str]) -> list[Path]:
    """Return the files of an image below `parts` (folders or files of `root`), sorted."""
    found: list[Path] = []
    for part in parts:
        path = root / part
        found += [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sorted(file for file in found if "__pycache__" not in file.parts and file.suffix != ".pyc")


def copy_sources(root: Path, parts: Iterable[str], target: Path) -> None:
    """Copy `parts` of `root` to `target`, at the same relative paths."""
    for file in source_files(root, parts):
        copy = target / file.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)


def compile_all(folder: Path, notify: Notify) -> None:
    """Byte-compile below `folder` for the image's Python; this halves the swarm's import time.

    The .pyc files carry a hash that is never checked (PEP 552), so file times do not matter. Without a Python
    of the image's version on this host nothing is compiled, and the user is told.
    """
    python = _image_python()
    if python is None:
        notify(f"no Python {IMAGE_PYTHON} on this host: nothing is compiled, and nodes start more slowly")
        return
    command = [python, "-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash"]
    command += ["-s", str(folder), "-p", "/app", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_S, check=False)
    if done.returncode:
        raise LabError(f"compiling {folder} failed: {' '.join((done.stdout + done.stderr).split())[:300]}")


def pack_tar(folder: Path) -> bytes:
    """Return the folder as a tar: the same bytes for the same files, whatever their owners and times."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            info = tarfile.TarInfo(str(file.relative_to(folder)))
            info.size = file.stat().st_size
            info.mode = 0o755 if file.stat().st_mode & 0o100 else 0o644
            with file.open("rb") as content:
                tar.addfile(info, content)
    return buffer.getvalue()


def _image_python() -> str | None:
    if importlib.util.MAGIC_NUMBER == IMAGE_MAGIC:
        return sys.executable
    return shutil.which(f"python{IMAGE_PYTHON}")
