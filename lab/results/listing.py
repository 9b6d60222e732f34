"""What a list of runs tells of each: its verdict and the servers that it measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field

from lab.common.errors import UsageError
from lab.results import store
from lab.results.base import read_json

UNKNOWN = "UNKNOWN"
UNREADABLE = "UNREADABLE"


class ListedServer(BaseModel):
    """A server's part of summary.json."""

    server: str


class ListedRun(BaseModel):
    """What is read of summary.json here; the rest of it is ignored."""

    verdict: Annotated[str, Field(pattern="^[A-Z]+$")]
    servers: Mapping[str, ListedServer]

    @property
    def server_names(self) -> list[str]:
        """Each server once, in the order of the summary."""
        return list(dict.fromkeys(one.server for one in self.servers.values()))


def read_all(results: Path) -> Iterator[tuple[str, ListedRun]]:
    """Yield the id and the listing of every run, oldest first; a damaged run is among them."""
    for path in store.list_folders(results):
        yield path.name, read(path)


def read(run: Path) -> ListedRun:
    """Read a run's listing: UNKNOWN before it has a summary, UNREADABLE with a damaged one or manifest."""
    file = run / "summary.json"
    try:
        store.read_manifest(run)
        if not file.exists():
            return ListedRun(verdict=UNKNOWN, servers={})
        return ListedRun.model_validate(read_json(file))
    except (UsageError, OSError, ValueError):
        return ListedRun(verdict=UNREADABLE, servers={})
