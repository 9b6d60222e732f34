"""The base image: Debian 12 with its Python and network tools, from a registry or bootstrapped here."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from lab.common.errors import HostCannot, LabError, NoMeasurement
from lab.common.notify import Notify
from lab.common.owner import state_dir
from lab.common.progress import step
from lab.engine import apt
from lab.engine.api import Engine, EngineLost
from lab.engine.build.builder import BUILD_S, build_image
from lab.engine.build.context import pack_tar
from lab.engine.logged import last_lines, run_logged

REGISTRY_IMAGE = "debian:bookworm-slim"
REGISTRY_S = 8.0
RETRY_AFTER_S = 3600.0
BOOTSTRAP_S = 600.0
SUITE = "bookworm"
# Debian compiles only the part of the standard library that comes with python3-minimal.
COMPILE = "python3 -m compileall -q --invalidation-mode unchecked-hash /usr/lib/python3.11"
# Not needed in a container; packages still install without them.
EXCLUDED = ("doc", "man", "locale", "info", "lintian", "bash-completion")


def packages(file: Path) -> list[str]:
    """Return the package names of a list file: one per line, `#` begins a comment."""
    lines = (line.partition("#")[0].strip() for line in file.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def bootstrap_argv(names: list[str], tar: Path) -> list[str]:
    """Return mmdebstrap's command line; the mirror is its default for the suite."""
    argv = ["mmdebstrap", "--mode=root", "--variant=minbase", f"--include={','.join(names)}"]
    argv += ["--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr"]
    argv += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in EXCLUDED]
    argv += ["--customize-hook=ln -s python3 $1/usr/bin/python", f"--customize-hook=chroot $1 {COMPILE}"]
    argv += ["--customize-hook=rm -rf $1/var/cache/apt/*"]
    return [*argv, SUITE, str(tar)]


def make(engine: Engine, folder: Path, tag: str, build: Path, notify: Notify) -> None:
    """Make the base image as `tag`, from the recipe in `folder`. Raises HostCannot if no way works."""
    reason = _from_registry(engine, folder, tag, notify)
    if reason is not None:
        _bootstrap(engine, folder, tag, build, reason, notify)


def _from_registry(engine: Engine, folder: Path, tag: str, notify: Notify) -> str | None:
    """Return None when the image is made, else why not. After a failure the next try is an hour later."""
    failed = state_dir() / "registry-failed"
    if failed.exists() and 0 <= time.time() - failed.stat().st_mtime < RETRY_AFTER_S:
        return failed.read_text(encoding="utf-8")
    image = os.environ.get("LAB_BASE_IMAGE", REGISTRY_IMAGE)
    reason = f"no registry answers for {image}"
    try:
        engine.call("ask the registry", engine.api.inspect_distribution, image, deadline_s=REGISTRY_S)
        reason = f"building on {image} failed"
        with step(notify, f"base image: from {image}"):
            recipe = {"dockerfile": "Dockerfile.registry", "network_mode": "default"}
            build_image(engine, pack_tar(folder), tag, "base", {"FROM": image}, **recipe)
    except EngineLost:
        raise
    except LabError as error:
        failed.write_text(reason, encoding="utf-8")
        if reason.startswith("building"):
            notify(str(error))
        return reason
    return None


def _bootstrap(engine: Engine, folder: Path, tag: str, build: Path, reason: str, notify: Notify) -> None:
    if shutil.which("mmdebstrap") is None:
        if not apt.can_install():
            raise HostCannot(
                f"cannot make the base image: {reason}, and mmdebstrap needs root on a Debian-like system: "
                "run `make images` as root once, or `docker load` an image that was built elsewhere"
            )
        apt.install(["mmdebstrap"], build / "apt.log", notify)
    tar, log = build / "base.tar", build / "base.log"
    try:
        with step(notify, f"base image: bootstrapping Debian {SUITE} ({reason})"):
            argv = bootstrap_argv(packages(folder / "packages.txt"), tar)
            environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
            log.unlink(missing_ok=True)
            if code := run_logged("mmdebstrap", argv, log, BOOTSTRAP_S, environment):
                raise HostCannot(f"mmdebstrap failed ({code}): {last_lines(log)}; its log: {log}")
            _import(engine, tar, tag)
    finally:
        tar.unlink(missing_ok=True)


def _import(engine: Engine, tar: Path, tag: str) -> None:
    repository, _, version = tag.rpartition(":")
    changes = ["LABEL lab.image=base", 'CMD ["python3"]']
    answer = engine.call(
        "import the base image",
        engine.api.import_image,
        src=str(tar),
        repository=repository,
        tag=version,
        changes=changes,
        deadline_s=BUILD_S,
    )
    if '"error"' in answer:
        raise NoMeasurement(f"the Docker engine could not import the base image: {answer[-300:]}")
