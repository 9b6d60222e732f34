"""The write-ahead journal: what is to exist is written down first, so that a dead run can be cleared away.

One file per deployment under the state folder; it is deleted when all that it names is gone.
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

Kind = Literal["container", "network", "mark", "scratch"]


def folder() -> Path:
    """Where the journals are."""
    path = state_dir() / "journal"
    path.mkdir(exist_ok=True)
    return path


class Journal:
    """An open journal of one deployment of `run`."""

    def __init__(self, run: str, owner: Owner) -> None:
        self.path = folder() / f"{run}.{secrets.token_hex(4)}.jsonl"
        self._file: IO[str] = self.path.open("x", encoding="utf-8", buffering=1)
        self._write({"run": run, "owner": str(owner), "host": socket.gethostname()})

    def will(self, kind: Kind, name: str) -> None:
        """To be called before `name` is created."""
        self._write({"will": kind, "name": name})

    def close(self, all_gone: bool) -> None:
        """To be called at the end; with `all_gone` the journal has done its work and is deleted."""
        self._file.close()
        if all_gone:
            self.path.unlink(missing_ok=True)

    def _write(self, entry: dict[str, Any]) -> None:
        self._file.write(json.dumps(entry) + "\n")


@dataclass
class Entry:
    """A journal as found."""

    path: Path
    run: str
    dead: bool
    names: dict[str, list[str]] = field(default_factory=dict)


def found() -> Iterator[Entry]:
    """Every journal that can be read, of living and dead runs."""
    for path in sorted(folder().glob("*.jsonl")):
        try:
            entry = _read(path)
        except FileNotFoundError:
            continue  # its run ended just now
        if entry:
            yield entry


def _read(path: Path) -> Entry | None:
    lines = list(_objects(path.read_text(encoding="utf-8")))
    if not lines or "run" not in lines[0]:
        return None  # just being opened; what it is about to name does not exist yet
    entry = Entry(path, str(lines[0]["run"]), _is_dead(lines[0]))
    for line in lines[1:]:
        entry.names.setdefault(str(line.get("will")), []).append(str(line.get("name")))
    return entry


def _is_dead(head: dict[str, Any]) -> bool:
    owner = Owner.parse(str(head.get("owner", "")))
    alive = owner.alive() if owner else None
    if alive is not None:
        return not alive
    # Not judged by pid: another boot of this machine ends every process, another pid namespace does not.
    return owner is not None and head.get("host") == socket.gethostname() and owner.boot != proc.boot_id()


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects of the lines; a torn last line is what a killed writer leaves."""
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            yield value
