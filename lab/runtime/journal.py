"""The write-ahead journal: names are written before the things are created, so that dead runs can be removed.

There is one file per deployment in the state folder; it is deleted when all that it names is gone.
"""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

from lab.common import proc
from lab.common.owner import Owner, state_dir

Kind = Literal["container", "network", "mark", "scratch", "cpu_group"]


def folder() -> Path:
    """Return the folder of the journals."""
    path = state_dir() / "journal"
    path.mkdir(exist_ok=True)
    return path


class Journal:
    """The open journal of one deployment of `run`."""

    def __init__(self, run: str, owner: Owner) -> None:
        self.path = folder() / f"{run}.{secrets.token_hex(4)}.jsonl"
        self._file: IO[str] = self.path.open("x", encoding="utf-8", buffering=1)
        self._write({"run": run, "owner": str(owner), "host": socket.gethostname()})

    def will(self, kind: Kind, name: str) -> None:
        """Write `name` down; call it before `name` is created."""
        self._write({"will": kind, "name": name})

    def close(self, all_gone: bool) -> None:
        """Close the journal; delete it where all that it names is gone."""
        self._file.close()
        if all_gone:
            self.path.unlink(missing_ok=True)

    def _write(self, entry: dict[str, Any]) -> None:
        self._file.write(json.dumps(entry) + "\n")


@dataclass
class Entry:
    """A journal that was found: its run, whether that is dead, and names by kind."""

    path: Path
    run: str
    dead: bool
    names: dict[str, list[str]] = field(default_factory=dict)

    def named(self, kind: Kind) -> list[str]:
        """Return the names of one kind."""
        return self.names.get(kind, [])

    @property
    def needs_engine(self) -> bool:
        """Whether it names things that only a Docker engine can remove."""
        return bool(self.named("container") or self.named("network"))


def found() -> Iterator[Entry]:
    """Yield every readable journal, of living and dead runs."""
    for path in sorted(folder().glob("*.jsonl")):
        try:
            entry = _read(path)
        except FileNotFoundError:
            continue  # its run has just ended
        if entry:
            yield entry


def _read(path: Path) -> Entry | None:
    lines = list(_objects(path.read_text(encoding="utf-8")))
    if not lines or "run" not in lines[0]:
        return None  # it is being opened: nothing that it will name exists yet
    entry = Entry(path, str(lines[0]["run"]), _is_dead(lines[0]))
    for line in lines[1:]:
        entry.names.setdefault(str(line.get("will")), []).append(str(line.get("name")))
    return entry


def _is_dead(head: dict[str, Any]) -> bool:
    owner = Owner.parse(str(head.get("owner", "")))
    alive = owner.alive() if owner else None
    if alive is not None:
        return not alive
    # The pid does not help here: a reboot of this machine ends every process, another pid namespace does not.
    return owner is not None and head.get("host") == socket.gethostname() and owner.boot != proc.boot_id()


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of the lines; the torn last line of a killed writer is skipped."""
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            yield value
