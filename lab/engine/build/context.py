"""A build context: files laid out as the Dockerfile copies them, byte-compiled, packed alike each time."""

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
    """The files below the parts (folders or files of `root`) that go into an image, sorted."""
    found: list[Path] = []
    for part in parts:
        path = root / part
        found += [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sorted(file for file in found if "__pycache__" not in file.parts and file.suffix != ".pyc")


def lay_out(root: Path, parts: Iterable[str], target: Path) -> None:
    """Copy the parts below `target`, at the same relative paths."""
    for file in source_files(root, parts):
        copy = target / file.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)


def compile_all(folder: Path, notify: Notify) -> None:
    """Byte-compile below `folder` for the image's Python. Import times of the swarm halve by it.

    The .pyc files carry a hash that is never checked (PEP 552), so that no time of a file matters. Where no
    Python of the image's version is found the sources stay as they are, which is said.
    """
    python = _image_python()
    if python is None:
        notify(f"no Python {IMAGE_PYTHON} here to compile for the image: its nodes will start more slowly")
        return
    command = [python, "-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash"]
    command += ["-s", str(folder), "-p", "/app", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_S, check=False)
    if done.returncode:
        raise LabError(f"compiling {folder} failed: {' '.join((done.stdout + done.stderr).split())[:300]}")


def packed(folder: Path) -> bytes:
    """The folder as a tar: same bytes for the same files, whoever owns them and whenever they changed."""
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
