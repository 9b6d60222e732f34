"""Compare two versions of the server, interleaved on one host, as a CI job should compare base and head.

Every server of a scenario becomes two, `NAME.base` and `NAME.head`, which differ in their image only. One run
measures both in every block, in random order, so that a drift of the host affects both alike (Abedi & Brecht
2017). Orchestrator, swarm and links are those of this checkout.
"""

from __future__ import annotations

import copy
import io
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from lab.common.errors import HostCannot, UsageError
from lab.common.notify import Notify
from lab.common.paths import ROOT
from lab.scenario.resolve import Resolved, changed

BASE, HEAD = ".base", ".head"
# The sources of a server image (lab/engine/images.py); the rest of a version is not used.
SOURCES = ("images", "requirements")
WORK_TREE = "."
GIT_S = 60.0


class Version(NamedTuple):
    """One side of the comparison: what was asked for, its commit if it is a ref, its image."""

    asked: str
    revision: str | None
    image: str


def versions(client: Any, asked: Iterable[str], notify: Notify, repository: Path = ROOT) -> list[Version]:
    """Return the image of each git ref (built if missing; equal sources share one) or image reference.

    `.` is the current work tree. Raises UsageError for what is neither, HostCannot where git or the build
    fails.
    """
    return [_version(client, word, notify, repository) for word in asked]


def _version(client: Any, asked: str, notify: Notify, repository: Path) -> Version:
    from lab.engine import images

    if ":" in asked:  # never in a ref: git-check-ref-format(1)
        return Version(asked, None, asked if "@sha256:" in asked else _content(client, asked))
    revision = None if asked == WORK_TREE else commit(asked, repository)
    with nullcontext(repository) if revision is None else sources(revision, repository) as root:
        tag = images.build(client, ["server"], notify, root, ROOT / "build")["server"]
    notify(f"{asked}: {f'commit {revision[:12]}' if revision else 'the work tree'}, image {tag}")
    return Version(asked, revision, _content(client, tag))


def _content(client: Any, reference: str) -> str:
    """Return the id of a local image. Raises UsageError."""
    from lab.engine.api import Engine
    from lab.engine.images import content_id

    found = content_id(Engine(client.api), reference)
    if found is None:
        raise UsageError(f"--ab {reference}: no such image on this host: pull or build it first")
    return found


def commit(ref: str, repository: Path) -> str:
    """Return the commit of a ref. Raises UsageError."""
    done = _git(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    if done.returncode:
        raise UsageError(f"--ab {ref}: no commit of {repository}, and no image (NAME:TAG or NAME@sha256:…)")
    return done.stdout.decode().strip()


@contextmanager
def sources(revision: str, repository: Path) -> Iterator[Path]:
    """Yield a temporary folder with the sources of the images at a commit.

    `git archive` only reads: the repository stays unchanged, even if this process is killed.
    """
    done = _git(repository, "archive", "--format=tar", revision, *SOURCES)
    if done.returncode:
        raise HostCannot(f"git archive {revision[:12]}: {done.stderr.decode(errors='replace').strip()}")
    with tempfile.TemporaryDirectory(prefix="lab-ab-") as folder:
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
            tar.extractall(folder, filter="data")
        yield Path(folder)


def _git(repository: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            ["git", "-C", str(repository), *arguments], capture_output=True, timeout=GIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HostCannot(f"git {arguments[0]}: {error}") from error


def alternatives(
    resolved: Resolved, base: str, head: str, pairs: int
) -> tuple[Resolved, list[tuple[str, str]]]:
    """Return the scenario with every server twice and `pairs` blocks, and the names of (base, head).

    Thresholds, expected limits, links and events of a server apply to both. Raises UsageError.
    """
    names = list(resolved.scenario.servers)
    if any(path.startswith("servers.") for path in resolved.scenario.sweep):
        raise UsageError("--ab: a sweep over `servers.…` cannot be doubled: sweep the swarm or the links")
    data: Mapping[str, Any] = resolved.data
    values: dict[str, Any] = {"repeat": pairs}
    values["servers"] = {
        name + side: {**data["servers"][name], "image": image}
        for name in names
        for side, image in ((BASE, base), (HEAD, head))
    }
    for part in ("thresholds", "expect"):
        if part in data:
            values[part] = {name + side: entry for name, entry in data[part].items() for side in (BASE, HEAD)}
    for part in ("links", "events"):
        if part in data:
            values[part] = [one for entry in data[part] for one in _doubled(entry, names)]
    return changed(resolved, values, "--ab"), [(name + BASE, name + HEAD) for name in names]


def _doubled(entry: Mapping[str, Any], names: list[str]) -> list[Any]:
    """Return a link or an event for each side if it names a server, else once."""
    both = [_renamed(entry, names, side) for side in (BASE, HEAD)]
    return both if both[0] != both[1] else [copy.deepcopy(entry)]


def _renamed(value: Any, names: list[str], side: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _renamed(child, names, side) for key, child in value.items()}
    if isinstance(value, list):
        return [_renamed(child, names, side) for child in value]
    return value + side if value in names else value
