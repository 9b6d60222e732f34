"""Which old runs may go: the newest stay, and those that are still being written."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import NamedTuple

from lab.common.errors import LabError, UsageError
from lab.results import store

# A run in progress appends a sample each second; one that has been quiet for so long was killed.
QUIET_S = 600.0


class Old(NamedTuple):
    """A run that may go."""

    path: Path
    size_bytes: int


def old(results: Path, keep: int, now_s: float | None = None) -> list[Old]:
    """All runs but the newest `keep` and those still being written, oldest first."""
    runs = store.list_runs(results)
    moment = time.time() if now_s is None else now_s
    return [Old(run, _size(run)) for run in runs[: max(0, len(runs) - keep)] if not _in_progress(run, moment)]


def remove(run: Path) -> None:
    """Remove a run's folder, its manifest first: what a torn removal leaves is no run. Raises LabError."""
    try:
        (run / "manifest.json").unlink()
        shutil.rmtree(run)
    except OSError as error:
        raise LabError(f"{run}: cannot be removed: {error.strerror}") from error


def _in_progress(run: Path, now_s: float) -> bool:
    if _complete(run):
        return False
    newest = max(path.stat().st_mtime for path in run.rglob("*"))
    return now_s - newest < QUIET_S


def _complete(run: Path) -> bool:
    """Whether every planned trial has its record, or the run says that it ended early."""
    try:
        manifest = store.read_manifest(run)
    except UsageError:
        return False
    recorded = len(list(run.glob("trials/*/record.json")))
    return bool(manifest.interrupted or manifest.aborted) or recorded >= len(manifest.plan.trials)


def _size(run: Path) -> int:
    return sum(path.stat().st_size for path in run.rglob("*") if path.is_file())
