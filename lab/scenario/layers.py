"""Merge the layers of a scenario, and remember where each value was written.

The layers are lab.yaml, the file, the environment and the flags, in that order: a later one replaces values.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from lab.scenario.problem import Problem, Refused
from lab.scenario.swarm import is_map_of_groups
from lab.scenario.yaml_file import Document, Keys, YamlMap, YamlValue, read_value, show_path, written


class Origin(NamedTuple):
    """Where a value was written: the document, the path in it, and the layer. Later layers are higher."""

    document: Document
    place: Keys
    layer: int = 0


class Layers:
    """Nested data, merged layer by layer."""

    def __init__(self, data: YamlMap | None = None, origins: Mapping[Keys, Origin] | None = None) -> None:
        self.data: YamlMap = copy.deepcopy(data or {})
        self.origins: dict[Keys, Origin] = dict(origins or {})
        self.layer = max((origin.layer for origin in self.origins.values()), default=0)

    def merge(self, document: Document, data: YamlMap, at: Keys = (), within: Keys = ()) -> None:
        """Merge a layer, `data` (at `within` in `document`), into `at`: maps merge, other values replace."""
        self.layer += 1
        self._merge(document, data, at, within)

    def _merge(self, document: Document, data: YamlMap, at: Keys, within: Keys) -> None:
        for key, value in data.items():
            path, origin = (*at, key), Origin(document, (*within, key), self.layer)
            if isinstance(value, dict) and isinstance(self.find(path), dict):
                self.origins[path] = origin
                self._merge(document, value, path, origin.place)
            else:
                self._put(path, copy.deepcopy(value), origin)

    def put(self, dotted: str, value: YamlValue, source: str) -> None:
        """Set the value at `path.to.key` as a layer of its own. Raises Refused for a path without an end."""
        self.layer += 1
        self._put(tuple(dotted.split(".")), value, Origin(Document(source, value), (), self.layer))

    def override(self, dotted: str, text: str, source: str) -> None:
        """Set one value from a flag or the environment; the text is parsed as YAML. Raises UsageError."""
        self.put(dotted, read_value(text, source, tuple(dotted.split("."))), source)

    def find(self, path: Keys) -> YamlValue:
        """Return the value at a path of keys, or None."""
        value: YamlValue = self.data
        for key in path:
            if not isinstance(value, dict) or key not in value:
                return None
            value = value[str(key)]
        return value

    def _put(self, path: Keys, value: YamlValue, origin: Origin) -> None:
        target: Any = self.data
        place: Keys = ()
        for key in path[:-1]:
            place = (*place, _key_in(target, key))
            if isinstance(target, dict) and place[-1] not in target:
                target[place[-1]] = {}
                self.origins[place] = origin
            target = target[place[-1]]
            following = path[len(place)]
            if not isinstance(target, dict) and not isinstance(_key_in(target, following), int):
                message = _no_child(place, target, following)
                problem = Problem((path,), message, at_key=True)
                raise Refused(f"{origin.document.source}: {message}", problem, path)
        place = (*place, _key_in(target, path[-1]))
        for known in [known for known in self.origins if known[: len(place)] == place]:
            del self.origins[known]
        target[place[-1]] = value
        self._mark(place, value, origin)

    def _mark(self, path: Keys, value: YamlValue, origin: Origin) -> None:
        self.origins[path] = origin
        if isinstance(value, dict | list):
            for key, child in value.items() if isinstance(value, dict) else enumerate(value):
                self._mark((*path, key), child, origin._replace(place=(*origin.place, key)))


def _key_in(holder: Any, key: str | int) -> str | int:
    """Return the key as `holder` has it: the index of a list element (`links.0.delay`), else the text."""
    if isinstance(holder, list) and str(key).isdigit() and int(key) < len(holder):
        return int(key)
    return str(key)


def _no_child(place: Keys, holder: YamlValue, key: str | int) -> str:
    """Describe a path that leads nowhere: `swarm.users is 10, so it has no key x`."""
    where = show_path(place).removesuffix(": ")
    if not isinstance(holder, list):
        return f"{where} is {written(holder)}, so it has no key {key}"
    last = f"its elements are 0 to {len(holder) - 1}" if holder else "the list is empty"
    return f"{where} has no element {key}: {last}"


def merge_defaults(tree: Layers, defaults: Document, shared: YamlMap, scenario: YamlMap) -> None:
    """Merge `defaults` of lab.yaml: `server` into each server, `swarm` into each group. Raises UsageError."""
    for key, value in shared.items():
        if key == "swarm" and is_map_of_groups(groups := scenario.get("swarm")):
            for name in groups:
                mine = mapping(defaults, value, ("defaults", "swarm"))
                tree.merge(defaults, mine, ("swarm", name), ("defaults", "swarm"))
            continue
        if key != "server":
            tree.merge(defaults, {key: value}, (), ("defaults",))
            continue
        servers = scenario.get("servers")
        for name, server in servers.items() if isinstance(servers, dict) else ():
            if isinstance(server, dict):
                mine = mapping(defaults, value, ("defaults", "server"))
                tree.merge(defaults, mine, ("servers", name), ("defaults", "server"))


def split_defaults(defaults: Document) -> tuple[YamlMap, YamlValue]:
    """Split lab.yaml into its settings and its `defaults` for scenarios. Raises UsageError."""
    data = dict(mapping(defaults, {} if defaults.data is None else defaults.data, ()))
    shared = data.pop("defaults", {})
    return data, shared


def mapping(document: Document, data: YamlValue, path: Keys) -> YamlMap:
    """Return `data` if it is a map. Raises UsageError at its place."""
    if data is None and not path:
        raise document.error(path, "the file is empty: a scenario needs name, servers and swarm")
    if not isinstance(data, dict):
        raise document.error(path, "must be a mapping of keys to values")
    return data


def from_environment(environment: Mapping[str, str]) -> Iterable[tuple[str, str, str]]:
    """Yield variables, paths, values: `LAB_SET_SWARM__SPAWN_RATE`, `swarm.spawn-rate`, `100`."""
    for name, text in sorted(environment.items()):
        if name.startswith("LAB_SET_"):
            yield name, name[8:].lower().replace("__", ".").replace("_", "-"), text
