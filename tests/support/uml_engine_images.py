"""Images of this host's engine, for an engine in another kernel that sees this host's files.

`docker load` takes longer in user-mode Linux than the run for which the images are wanted. So only what the
engine knows of its images is copied; their layers, which never change, are mounted from where they are.

Source: the on-disk layout of Docker's overlay2 storage driver, docs.docker.com/engine/storage/drivers.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

DRIVER = "overlay2"


def why_not(client: Any) -> str | None:
    """None where the layers can be reached, else the reason."""
    facts = client.info()
    if facts["Driver"] != DRIVER:
        return (
            f"the engine keeps images by {facts['Driver']}, not by {DRIVER}: they cannot be lent to another"
        )
    if not (_store(facts["DockerRootDir"]) / "repositories.json").exists():
        return f"the engine's folder {facts['DockerRootDir']} is not to be read from here"
    return None


def write(client: Any, tags: Iterable[str], folder: Path) -> None:
    """Make `folder`: `data`, the beginning of an engine's data root, and `layers`, the paths to mount there.

    The layer at …/overlay2/ID/diff belongs at data/overlay2/ID/diff.
    """
    layers = list(dict.fromkeys(layer for tag in tags for layer in _layers(client, tag)))
    data = folder / "data"
    known, store = _store(client.info()["DockerRootDir"]), _store(data)
    for name in ("imagedb", "layerdb/sha256"):
        shutil.copytree(known / name, store / name)
    shutil.copy(known / "repositories.json", store)
    short_names = data / DRIVER / "l"
    short_names.mkdir(parents=True)
    for layer in layers:
        own = data / DRIVER / layer.parent.name
        for name in ("diff", "work"):
            (own / name).mkdir(parents=True)
        for file in ("link", "lower", "committed"):
            if (layer.parent / file).exists():
                shutil.copy(layer.parent / file, own)
        (short_names / (own / "link").read_text()).symlink_to(f"../{own.name}/diff")
    (folder / "layers").write_text("".join(f"{layer}\n" for layer in layers))


def _store(root: str | Path) -> Path:
    return Path(root) / "image" / DRIVER


def _layers(client: Any, tag: str) -> list[Path]:
    found = client.api.inspect_image(tag)["GraphDriver"]["Data"]
    below = found.get("LowerDir", "")
    return [Path(found["UpperDir"]), *map(Path, below.split(":") if below else [])]
