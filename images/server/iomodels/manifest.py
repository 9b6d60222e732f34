"""Reads ``manifest.yaml``, the data about the models, without a YAML library.

The file keeps to a small part of YAML, so that the server needs nothing but the standard library: block
mappings, flow lists of plain scalars, plain or double-quoted scalars, comments on lines of their own.
Anything else is an error. A test holds this reader against a full one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

Value: TypeAlias = "str | int | bool | list[Scalar] | dict[str, Value] | None"
Scalar: TypeAlias = str | int | bool | None

_ENTRY = re.compile(r"( *)([A-Za-z_][A-Za-z0-9_-]*):(?: +(\S.*))?")
_LITERAL: dict[str, Scalar] = {"true": True, "false": False, "null": None}


class ManifestError(Exception):
    """The manifest is not what this reader understands; the message has the line number."""


@dataclass(frozen=True)
class Model:
    """What the server itself has to know of a manifest entry; the file says more."""

    name: str
    summary: str
    family: str
    transports: list[str]
    workers: bool
    options: dict[str, Value]


def load(path: Path | None = None) -> dict[str, Model]:
    """Return the models in the manifest's order.

    Raises:
        ManifestError: bad syntax, or an entry without a key that is needed.
    """
    return {name: _model(name, entry) for name, entry in entries(path).items()}


def entries(path: Path | None = None) -> dict[str, dict[str, Value]]:
    """Return the whole entries by name, in the manifest's order.

    Raises:
        ManifestError: bad syntax.
    """
    path = path or Path(__file__).parent.parent / "manifest.yaml"
    found = read(path.read_text(encoding="utf-8"))["models"]
    assert isinstance(found, dict)
    return {name: entry for name, entry in found.items() if isinstance(entry, dict)}


def _model(name: str, entry: dict[str, Value]) -> Model:
    try:
        transports, options = entry["transports"], entry.get("options", {})
        assert isinstance(transports, list)
        assert isinstance(options, dict)
        return Model(
            name=name,
            summary=str(entry["summary"]),
            family=str(entry["family"]),
            transports=[str(transport) for transport in transports],
            workers=entry["workers"] is True,
            options=options,
        )
    except (KeyError, AssertionError) as error:
        raise ManifestError(f"manifest: models.{name}: {error!r}") from error


def read(text: str) -> dict[str, Value]:
    """Return the mapping that `text` holds.

    Raises:
        ManifestError: anything but the part of YAML above.
    """
    root: dict[str, Value] = {}
    open_maps: list[tuple[int, dict[str, Value]]] = [(-1, root)]
    pending: tuple[int, dict[str, Value], str] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = _ENTRY.fullmatch(line.rstrip())
        if found is None:
            raise ManifestError(f"manifest:{number}: not a 'key: value' line: {line.strip()!r}")
        indent, key, value = len(found[1]), found[2], found[3]
        if pending is not None and indent > pending[0]:
            child: dict[str, Value] = {}
            pending[1][pending[2]] = child
            open_maps.append((indent, child))
        while open_maps[-1][0] > indent:
            open_maps.pop()
        if open_maps[-1][0] != indent and not (open_maps[-1][0] == -1 and indent == 0):
            raise ManifestError(f"manifest:{number}: indentation fits no mapping")
        target = open_maps[-1][1]
        if key in target:
            raise ManifestError(f"manifest:{number}: {key!r} is there twice")
        target[key] = None if value is None else _value(value, number)
        pending = (indent, target, key) if value is None else None
    return root


def _value(text: str, number: int) -> Value:
    if text.startswith("["):
        if not text.endswith("]"):
            raise ManifestError(f"manifest:{number}: a list ends on its line")
        inner = text[1:-1].strip()
        return [_scalar(part.strip(), number) for part in inner.split(",")] if inner else []
    return _scalar(text, number)


def _scalar(text: str, number: int) -> Scalar:
    if text.startswith('"'):
        if len(text) < 2 or not text.endswith('"') or "\\" in text or '"' in text[1:-1]:
            raise ManifestError(f"manifest:{number}: bad quoted text {text!r}")
        return text[1:-1]
    if text == "" or text[0] in "'[]{}&*!|>%@`#,?-" or ": " in text or " #" in text:
        raise ManifestError(f"manifest:{number}: quote this: {text!r}")
    if text in _LITERAL:
        return _LITERAL[text]
    return int(text) if re.fullmatch(r"0|[1-9][0-9]*", text) else text
