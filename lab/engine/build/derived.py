"""Add the files that a scenario names to an image, as one more layer: containers have no host mounts."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from lab.common.notify import Notify
from lab.common.progress import step
from lab.engine.api import Engine
from lab.engine.build.builder import build_image
from lab.engine.build.context import pack_tar

DOCKERFILE = "ARG BASE\nFROM $BASE\nCOPY files/ /scenario/\n"


def derived_tag(base: str, files: Mapping[str, Path]) -> str:
    """Return the tag of `base` with these files, from their names and contents."""
    digest = hashlib.sha256(f"{base}\0{DOCKERFILE}".encode())
    for name, path in sorted(files.items()):
        digest.update(f"\0{name}\0".encode() + path.read_bytes())
    return f"{base.partition(':')[0]}-with-files:{digest.hexdigest()[:12]}"


def build_derived(engine: Engine, base: str, files: Mapping[str, Path], name: str, notify: Notify) -> str:
    """Build `base` with each file as /scenario/NAME, labelled as the lab's image `name`; return its tag."""
    wanted = derived_tag(base, files)
    with (
        tempfile.TemporaryDirectory() as scratch,
        step(notify, f"image {name} with {', '.join(sorted(files))}"),
    ):
        for inside, path in files.items():
            copy = Path(scratch, "files", inside)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        Path(scratch, "Dockerfile").write_text(DOCKERFILE, encoding="utf-8")
        build_image(engine, pack_tar(Path(scratch)), wanted, name, {"BASE": base})
    return wanted
