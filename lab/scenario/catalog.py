"""The catalog of I/O models, read from the manifest of the server image.

The manifest holds what the lab knows of a model: family, needs, known limits, system calls that prove it.
"""

from __future__ import annotations

import functools
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from lab.common.errors import LabError
from lab.common.paths import ROOT

MANIFEST = ROOT / "images" / "server" / "manifest.toml"

Family = Literal["blocking", "non-blocking", "multiplexing", "signal-driven", "asynchronous"]


# Shapes with one thread that works; `thread` and `posix_aio` have threads per connection.
ONE_THREAD = ("iterative", "polling-loop", "event-loop")


class ManifestModel(BaseModel):
    """The base of every model in the manifest: frozen; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelNeeds(ManifestModel):
    """What a model needs from the host, per server or per connection."""

    kernel: str | None = None
    seccomp: tuple[str, ...] = ()
    descriptors_per_connection: float = 1
    threads_per_connection: float = 0
    processes_per_connection: float = 0

    @property
    def io_uring(self) -> bool:
        """Whether the seccomp profile of the run must allow io_uring."""
        return any(call.startswith("io_uring") for call in self.seccomp)

    @property
    def pids_per_connection(self) -> float:
        """Entries in the pids cgroup: threads count as processes there (cgroups(7))."""
        return self.threads_per_connection + self.processes_per_connection


class KnownLimits(ManifestModel):
    """Known limits of a model: reaching one is a finding, not a failure."""

    max_open: int | None = None
    served_at_once: int | None = None


class Syscalls(ManifestModel):
    """The system calls that the model must and must never make."""

    must: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    wait: str | None = None


class Model(ManifestModel):
    """One I/O model of the manifest."""

    name: str
    summary: str
    family: Family
    shape: str
    transports: tuple[Literal["tcp", "udp"], ...]
    workers: bool = False
    needs: ModelNeeds = ModelNeeds()
    memory_bytes_per_connection: int = 0
    limits: KnownLimits = KnownLimits()
    syscalls: Syscalls = Syscalls()
    options: dict[str, object] = Field(default_factory=dict)
    man: tuple[str, ...] = ()
    out_of_descriptors: Literal["closes"] | None = None
    busy_waits: bool = False

    @property
    def one_thread(self) -> bool:
        """Whether each process works in one thread, so that it can use one CPU at most."""
        return self.shape in ONE_THREAD and not self.needs.pids_per_connection


class Manifest(ManifestModel):
    """The manifest: the models by name; the key of a model is its name."""

    models: dict[str, Model]

    @field_validator("models", mode="before")
    @classmethod
    def _named(cls, entries: Any) -> Any:
        if not isinstance(entries, dict):
            return entries
        return {k: {"name": k, **v} if isinstance(v, dict) else v for k, v in entries.items()}


@functools.cache
def models() -> dict[str, Model]:
    """Return all models by name, in the manifest's order.

    Raises:
        LabError: the manifest is wrong; the message names the file, and the key or the line.
    """
    return read(MANIFEST)


def read(path: Path) -> dict[str, Model]:
    """Return the models of a manifest by name; raises LabError as `models`."""
    try:
        return Manifest.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).models
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise LabError(f"{path.name}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        keys = ".".join(str(key) for key in first["loc"])
        raise LabError(f"{path.name}: {keys}: {first['msg']}") from error
