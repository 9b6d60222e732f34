"""Parse YAML to plain data and the position of each value.

YAML 1.1 (which PyYAML implements) reads `1:30` as 90, `010` as 8 and `no` as False. Here such a scalar is an
error that shows what to write. The number of values after alias expansion is limited.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import yaml

from lab.common.errors import UsageError
from lab.scenario.examples import BOOLEANS, EXAMPLES

Place = tuple[int, int]
# Raw data of a file before validation.
YamlValue: TypeAlias = "bool | int | float | str | list[YamlValue] | YamlMap | None"
YamlMap: TypeAlias = "dict[str, YamlValue]"
Keys = tuple[str | int, ...]

MAX_FILE_BYTES = 1 << 20
MAX_NODES = 20_000
MAX_DEPTH = 40

_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"-?(0|[1-9][0-9]*)\.[0-9]+")
_WORDS = {"true": True, "false": False, "null": None, "": None, "~": None}
_IMPLICIT_TAGS = {
    f"tag:yaml.org,2002:{name}"
    for name in ("str", "int", "float", "bool", "null", "timestamp", "merge", "value")
}
_ALMOST_NUMBER = re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?([eE][-+]?[0-9]+)?|0[xXoObB][0-9a-fA-F_]+")


@dataclass
class Document:
    """The data of a file and, for each path in it, line and column (from 1) of the value and of the key."""

    source: str
    data: YamlValue
    places: dict[Keys, Place] = field(default_factory=dict)
    key_places: dict[Keys, Place] = field(default_factory=dict)

    def error(self, path: Keys, message: str, *, at_key: bool = False) -> UsageError:
        """Make an error at `path`: `file:line:col: path.to.key: message`."""
        place = (self.key_places if at_key else self.places).get(path)
        while place is None and path:
            path = path[:-1]
            place = self.places.get(path)
        line, column = place or (1, 1)
        return UsageError(f"{self.source}:{line}:{column}: {show_path(path)}{message}")


def show_path(path: Keys) -> str:
    """Format a path as the start of a message: `servers.thread.model: `; empty for the whole file."""
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else str(key)
    return text + ": " if text else ""


def read(path: Path, source: str | None = None) -> Document:
    """Read a YAML file. Raises UsageError with the position; also for a missing or unreadable file."""
    name = source or str(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{name}: cannot be read: {error.strerror}") from error
    if len(raw) > MAX_FILE_BYTES:
        raise UsageError(f"{name}:1:1: the file is larger than {MAX_FILE_BYTES >> 20} MiB")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{name}:{line}:1: the file is not UTF-8 text (byte {error.start})") from error
    return parse(text, name)


def parse(text: str, source: str) -> Document:
    """Parse YAML text. Raises UsageError with the position."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise UsageError(f"{source}:{line}:{column}: not YAML: {error.problem or error.context}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UsageError(f"{source}:{line}:1: not YAML: {error.reason}") from error
    except RecursionError as error:
        raise UsageError(f"{source}:1:1: nested deeper than {MAX_DEPTH} levels") from error
    except (ValueError, IndexError) as error:
        raise UsageError(f"{source}:1:1: not YAML: {error}") from error
    document = Document(source, None)
    if root is not None:
        document.data = _Builder(document).build(root, ())
    return document


def written(value: object) -> str:
    """Format a value as a person writes it, in flow style: `{delay: 5ms, loss: null}`."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{written(key)}: {written(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(written, value)) + "]"
    return {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value))


def read_value(text: str, source: str, path: Keys = ()) -> YamlValue:
    """Read one value of a flag: a plain scalar, or a list or map in flow style. Raises UsageError."""
    if text[:1] in ("[", "{"):
        return parse(text, source).data
    try:
        return plain_scalar(text, path)
    except ValueError as error:
        raise UsageError(f"{source}: {error}") from None


class _Builder:
    def __init__(self, document: Document) -> None:
        self.document = document
        self.nodes = 0

    def build(self, node: yaml.Node, path: Keys) -> YamlValue:
        self.nodes += 1
        mark = node.start_mark
        self.document.places[path] = (mark.line + 1, mark.column + 1)
        if self.nodes > MAX_NODES:
            raise self.document.error(path, f"more than {MAX_NODES} values after aliases are expanded")
        if len(path) > MAX_DEPTH:
            raise self.document.error(path[:3], f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(child, (*path, index)) for index, child in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Keys) -> YamlMap:
        result: YamlMap = {}
        for key_node, value_node in node.value:
            place = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            if not isinstance(key_node, yaml.ScalarNode):
                self.document.places[path] = place
                raise self.document.error(path, "a key must be a plain scalar")
            key = str(key_node.value)
            here = (*path, key)
            first = self.document.key_places.get(here)
            if key in result and first:
                self.document.key_places[here] = place
                raise self.document.error(
                    here, f"the key is given twice, first in line {first[0]}", at_key=True
                )
            self.document.key_places[here] = place
            if key == "<<":
                raise self.document.error(
                    here, "merge keys (<<) are not supported: repeat the keys", at_key=True
                )
            result[key] = self.build(value_node, here)
        return result

    def _scalar(self, node: yaml.Node, path: Keys) -> YamlValue:
        assert isinstance(node, yaml.ScalarNode)
        text = str(node.value)
        if node.tag not in _IMPLICIT_TAGS:
            raise self.document.error(path, f"tags are not supported: {node.tag}")
        if node.style is not None:
            return text
        try:
            return plain_scalar(text, path)
        except ValueError as error:
            raise self.document.error(path, str(error)) from None


def plain_scalar(text: str, path: Keys = ()) -> str | int | float | bool | None:
    """Read an unquoted scalar by the core schema of YAML 1.2. Raises ValueError where YAML 1.1 differs.

    The error suggests what the key at the end of `path` takes.
    """
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > 4000:
        raise ValueError("the value is longer than 4000 characters")
    if _INTEGER.fullmatch(text):
        if len(text) > 18:
            raise ValueError(f"{text[:20]}…: the number has more than 18 characters")
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    kind = _resolved_kind(text)
    if kind == "str" and not _ALMOST_NUMBER.fullmatch(text):
        return text
    if kind == "bool":
        raise ValueError(f"YAML 1.1 reads {text} as a boolean: {_instead_of_word(text, path)}")
    raise ValueError(f"YAML readers disagree about {text}: {_instead(text)}")


def _instead(text: str) -> str:
    """Say how to write a scalar that YAML readers read as different types."""
    if not _ALMOST_NUMBER.fullmatch(text):
        return "write a plain decimal number, or quote it"
    return f"for a number write {_decimal(text)}, for text {text!r}"


def _instead_of_word(text: str, path: Keys) -> str:
    """Say how to write a word such as `yes` for a key."""
    key = str(path[-1]) if path else ""
    if (example := EXAMPLES.get(key, ""))[:1].isdigit():
        return f"write a value such as {example}"
    right = "true" if text.lower() in ("yes", "on", "y", "true") else "false"
    if key in BOOLEANS:
        return f"write {right}"
    return f"quote it as {text!r}" if example else f"write {right}, or quote it as {text!r}"


def _decimal(text: str) -> str:
    """Return an almost-number as a plain decimal: `1e5` → `100000`; words where its value is unclear."""
    try:
        number = float(int(text, 16) if "x" in text.lower() else text.replace("_", ""))
    except (ValueError, OverflowError):
        number = 0.0
    if re.match(r"[-+]?0[0-9_]", text) or not 1e-6 < abs(number) < 1e15:
        return "plain decimals"
    return f"{number:.15g}" if number == int(number) else f"{number:.9f}".rstrip("0")


def _resolved_kind(text: str) -> str:
    """Return the type that YAML 1.1 gives to a plain scalar: str, int, float, bool, timestamp or null."""
    resolve: Callable[..., str] = yaml.SafeLoader("").resolve
    return resolve(yaml.ScalarNode, text, (True, False)).rsplit(":", 1)[-1]
