"""Read ``manifest.toml``, the data about the models."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

Entry: TypeAlias = dict[str, Any]
T = TypeVar("T")

PATH = Path(__file__).parent.parent / "manifest.toml"


class ManifestError(Exception):
    """The manifest is wrong; the message names the file, and the key or the line."""


@dataclass(frozen=True)
class Model:
    """The part of a manifest entry that the server needs; the file has more."""

    name: str
    summary: str
    family: str
    transports: list[str]
    workers: bool
    options: Entry


def load(path: Path | None = None) -> dict[str, Model]:
    """Return the models by name, in the manifest's order.

    Raises:
        ManifestError: as `entries`; or a key is missing or has the wrong type.
    """
    path = path or PATH
    return {name: _model(f"{path.name}: models.{name}", name, entry) for name, entry in entries(path).items()}


def entries(path: Path | None = None) -> dict[str, Entry]:
    """Return the complete entries by name, in the manifest's order.

    Raises:
        ManifestError: the file cannot be read; bad syntax; or an entry is not a table.
    """
    path = path or PATH
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ManifestError(f"{path.name}: {error}") from error
    models = _typed(f"{path.name}: models", data.get("models"), dict)
    return {name: _typed(f"{path.name}: models.{name}", entry, dict) for name, entry in models.items()}


def _model(place: str, name: str, entry: Entry) -> Model:
    def value(key: str, kind: type[T]) -> T:
        return _typed(f"{place}.{key}", entry.get(key), kind)

    return Model(
        name=name,
        summary=value("summary", str),
        family=value("family", str),
        transports=value("transports", list),
        workers=value("workers", bool),
        options=value("options", dict) if "options" in entry else {},
    )


def _typed(place: str, value: object, kind: type[T]) -> T:
    """Return the value if it has the right type (TOML has no null: None is a missing key)."""
    if not isinstance(value, kind):
        problem = "missing" if value is None else f"{value!r}"
        raise ManifestError(f"{place}: {problem}; a {_NAMES[kind]} is needed")
    return value


_NAMES = {str: "string", list: "list", bool: "boolean", dict: "table"}
