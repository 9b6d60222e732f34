"""The lab's images, tagged by a hash of their sources: an image that exists is not built again."""

from __future__ import annotations

import hashlib
import platform
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker.errors

from lab.common.errors import HostCannot, LabError, UsageError
from lab.common.lock import file_lock
from lab.common.notify import Notify
from lab.common.paths import ROOT
from lab.common.progress import step
from lab.engine.api import Engine
from lab.engine.build import base
from lab.engine.build.builder import build_image
from lab.engine.build.context import compile_all, copy_sources, pack_tar, source_files
from lab.engine.build.derived import build_derived, derived_tag
from lab.engine.build.wheels import install_wheels

REPOSITORY = "io-model-lab"
LOCK_S = 900.0
# Raise it when a change of the build changes the images, but none of the files that are hashed.
RECIPE = "2"


@dataclass(frozen=True)
class Image:
    """The sources of an image: folders and files below images/, and the wheels of a requirements file."""

    parts: tuple[str, ...]
    requirements: str | None = None


@dataclass(frozen=True)
class Sources:
    """A checkout, and the folder for what is kept between builds."""

    root: Path
    scratch: Path


IMAGES: Mapping[str, Image] = {
    "server": Image(("wire", "server/manifest.toml", "server/iomodels"), "server.txt"),
    "swarm": Image(("wire", "kernel", "swarm"), "swarm.txt"),
    "nettools": Image(("kernel", "nettools")),
}


def build(
    client: Any, which: Iterable[str], notify: Notify, root: Path = ROOT, scratch: Path | None = None
) -> dict[str, str]:
    """Build the missing images of `which` from the sources in `root`; return the tag of each.

    `scratch` keeps wheels between builds (default: build/ in `root`). Raises HostCannot, NoMeasurement,
    UsageError.
    """
    engine = Engine(client.api)
    machine = _machine(engine)
    tags = {name: tag(name, machine, root) for name in which}
    if all(_exists(engine, wanted) for wanted in tags.values()):
        return tags
    folder = scratch or root / "build"
    folder.mkdir(exist_ok=True)
    with file_lock(folder / "lock", "building the images", LOCK_S, notify):
        for name, wanted in tags.items():
            if not _exists(engine, wanted):
                _build(engine, name, wanted, machine, Sources(root, folder), notify)
    return tags


def with_files(
    client: Any, built: Mapping[str, str], files: Mapping[str, Path], notify: Notify
) -> dict[str, str]:
    """Return the same images, the swarm's with these files added as /scenario/NAME."""
    if not files:
        return dict(built)
    engine = Engine(client.api)
    wanted = derived_tag(built["swarm"], files)
    if not _exists(engine, wanted):
        build_derived(engine, built["swarm"], files, "swarm", notify)
    return {**built, "swarm": wanted}


def tag(name: str, machine: str, root: Path = ROOT) -> str:
    """Return the tag of an image (or of "base") on a machine such as x86_64, from its sources."""
    images = root / "images"
    if name == "base":
        return f"{REPOSITORY}/base:{_digest(source_files(images, ['base']), images, RECIPE + machine)}"
    if name not in IMAGES:
        raise UsageError(f"no image '{name}'; there are: {', '.join(IMAGES)}")
    image = IMAGES[name]
    files = source_files(images, [f"{name}/Dockerfile", *image.parts])
    if image.requirements:
        files.append(root / "requirements" / image.requirements)
    return f"{REPOSITORY}/{name}:{_digest(sorted(set(files)), root, tag('base', machine, root))}"


def remove_old(client: Any, notify: Notify, root: Path = ROOT) -> None:
    """Remove the lab's images that no longer match the sources; images in use stay."""
    engine = Engine(client.api)
    machine = _machine(engine)
    wanted = {tag(name, machine, root) for name in ("base", *IMAGES)}
    for image in engine.call("list images", engine.api.images, filters={"label": "lab.image"}):
        for old in set(image["RepoTags"] or []) - wanted:
            try:
                engine.call(f"remove image {old}", engine.api.remove_image, old)
                notify(f"removed image {old}")
            except LabError as error:
                notify(f"kept image {old}: {error}")


def _build(engine: Engine, name: str, wanted: str, machine: str, sources: Sources, notify: Notify) -> None:
    root, kept = sources.root, sources.scratch
    base_tag = tag("base", machine, root)
    if not _exists(engine, base_tag):
        _require_own_machine(machine)
        base.make(engine, root / "images/base", base_tag, kept, notify)
    image = IMAGES[name]
    wheels = None
    if image.requirements:
        wheels = install_wheels(root / "requirements" / image.requirements, machine, kept, notify)
    with tempfile.TemporaryDirectory(dir=kept) as scratch, step(notify, f"image {name}"):
        context = Path(scratch)
        copy_sources(root / "images", image.parts, context)
        compile_all(context, notify)
        shutil.copyfile(root / "images" / name / "Dockerfile", context / "Dockerfile")
        if wheels:
            shutil.copytree(wheels, context / "wheels", copy_function=_link)
        build_image(engine, pack_tar(context), wanted, name, {"BASE": base_tag})


def _machine(engine: Engine) -> str:
    """Return the engine's machine as uname(2) names it."""
    arch = str(engine.call("tell its version", engine.api.version)["Arch"])
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(arch, arch)


def _require_own_machine(machine: str) -> None:
    if machine != platform.machine():
        raise HostCannot(
            f"the engine runs on {machine}, this host is {platform.machine()}: build the images there"
        )


def _exists(engine: Engine, wanted: str) -> bool:
    return content_id(engine, wanted) is not None


def content_id(engine: Engine, reference: str) -> str | None:
    """Return the id of a local image: it names the content, even if the tag moves. None if there is none."""
    try:
        found = engine.call(f"look for {reference}", engine.api.inspect_image, reference, allow=(404,))
    except docker.errors.NotFound:
        return None
    return str(found["Id"])


def _digest(files: list[Path], root: Path, more: str) -> str:
    digest = hashlib.sha256(more.encode())
    for file in files:
        digest.update(f"\0{file.relative_to(root)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def _link(source: str, target: str) -> None:
    """Link instead of copy: the wheels are some thousand files that nobody changes."""
    Path(target).hardlink_to(source)
