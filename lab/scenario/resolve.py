"""Load a Scenario from files, environment and flags, and remember where each value came from.

Precedence: flags > `LAB_…` environment > scenario > lab.yaml > built-in.
"""

from __future__ import annotations

import copy
import ipaddress
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, ValidationError

from lab.common.errors import UsageError
from lab.scenario.messages import first_message
from lab.scenario.scenario import Scenario
from lab.scenario.strict import AS_WRITTEN, ScenarioModel
from lab.scenario.swarm import is_map_of_groups
from lab.scenario.yaml_file import Document, Keys, YamlMap, YamlValue, read, read_value, show_path

RuntimeName = Literal["auto", "docker", "local"]
Origin = tuple[Document, Keys]
P = TypeVar("P", bound=ScenarioModel)


def _pool(text: str) -> str:
    network = ipaddress.ip_network(text)
    if not network.is_private and not network.subnet_of(ipaddress.ip_network("198.18.0.0/15")):  # type: ignore[arg-type]
        raise ValueError(f"{text} is not a private network: the lab's traffic must stay on this machine")
    if network.version != 4 or network.prefixlen > 22:
        raise ValueError(f"{text} must be an IPv4 network of /22 or larger")
    return text


class Settings(ScenarioModel):
    """The settings of lab.yaml, without its `defaults`."""

    runtime: RuntimeName = "auto"
    results: str = "results"
    network_pool: Annotated[str, AfterValidator(_pool)] = "198.18.0.0/15"


@dataclass
class Resolved:
    """A scenario with its raw data and the origin of each value."""

    scenario: Scenario
    settings: Settings
    data: YamlMap
    origins: dict[Keys, Origin] = field(default_factory=dict)
    folder: Path = Path()

    def files(self) -> dict[str, Path]:
        """Return the files that the scenario names, by the name in the scenario."""
        return {name: self.folder / name for _, name in self.scenario.files()}

    def origin(self, path: Keys) -> str:
        """Return where the value at `path` was set: `c10k.yaml:9`, `--set swarm.users`, `built-in`."""
        found = self.origins.get(path)
        if found is None:
            return "built-in"
        document, place = found
        line = document.places.get(place)
        return f"{document.source}:{line[0]}" if line else document.source


def load(
    path: Path,
    *,
    lab_yaml: Path,
    environment: Mapping[str, str] | None = None,
    overrides: Iterable[str] = (),
    runtime: str | None = None,
    source: str | None = None,
) -> Resolved:
    """Read and validate a scenario. `overrides` have the form `path.to.key=value`. Raises UsageError."""
    environment = environment or {}
    document = read(path, source)
    defaults = read(lab_yaml, lab_yaml.name) if lab_yaml.exists() else Document("lab.yaml", {})
    tree = _Layers(document)
    settings_data, shared = _split_defaults(defaults)
    settings = _validate(Settings, settings_data, {}, defaults)
    for where, word in (("--runtime", runtime), ("$LAB_RUNTIME", environment.get("LAB_RUNTIME"))):
        if word:
            settings = _validate(Settings, {**settings_data, "runtime": word}, {}, Document(where, None))
            break
    scenario_data = _mapping(document, document.data, ())
    _merge_defaults(tree, defaults, _mapping(defaults, shared, ("defaults",)), scenario_data)
    tree.merge(document, scenario_data)
    for variable, name, text in _from_environment(environment):
        tree.override(name, text, f"${variable}")
    for item in overrides:
        key, equals, text = item.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {item}: write it as path.to.key=value, such as swarm.users=100")
        tree.override(key, text, f"--set {key}")
    question = first_comment(path)
    if question and "question" not in tree.data:
        tree.data["question"] = question
    scenario = _validate(Scenario, tree.data, tree.origins, document)
    resolved = Resolved(scenario, settings, tree.data, tree.origins, path.parent)
    _check_sweep(_with_files(resolved, document), document)
    return resolved


def load_settings(lab_yaml: Path) -> Settings:
    """Read the settings of lab.yaml, without its `defaults`. Raises UsageError."""
    defaults = read(lab_yaml, lab_yaml.name) if lab_yaml.exists() else Document("lab.yaml", {})
    return _validate(Settings, _split_defaults(defaults)[0], {}, defaults)


def sweep_points(sweep: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    """Return every combination of the values of a sweep; one empty point without a sweep."""
    return [dict(zip(sweep, values, strict=True)) for values in itertools.product(*sweep.values())]


def _check_sweep(resolved: Resolved, document: Document) -> None:
    """Refuse a path or a value that a sweep cannot set. Raises UsageError at the entry of the sweep."""
    for point in sweep_points(resolved.scenario.sweep):
        if error := _point_error(resolved, point):
            raise _sweep_error(resolved, document, point, error)


def _sweep_error(
    resolved: Resolved, document: Document, point: Mapping[str, YamlValue], error: str
) -> UsageError:
    """Make the error of a sweep point: at the value that is wrong alone, else at the whole sweep."""
    for path, value in point.items():
        if alone := _point_error(resolved, {path: value}):
            place: Keys = ("sweep", path, resolved.scenario.sweep[path].index(value))
            at = _position(place, resolved.origins, document)
            return UsageError(f"{at}: sweep.{path} = {value}: {alone}")
    values = ", ".join(f"{path} = {value}" for path, value in point.items())
    return UsageError(f"{_position(('sweep',), resolved.origins, document)}: sweep: {values}: {error}")


def _point_error(resolved: Resolved, point: Mapping[str, YamlValue]) -> str:
    """Return what is wrong with the scenario at a sweep point, without its source; empty if nothing is."""
    try:
        if point:
            with_values(resolved, point)
    except UsageError as error:
        text = str(error).removeprefix("sweep: ")
        for path, value in point.items():
            text = text.removeprefix(f"sweep.{path} = {value}: ")
        return text
    return ""


def _position(path: Keys, origins: Mapping[Keys, Origin], document: Document) -> str:
    """Return where a value was written: `c10k.yaml:9:3`, or its flag."""
    where, place = origins.get(path, (document, path))
    line_column = where.places.get(place)
    return where.source + (f":{line_column[0]}:{line_column[1]}" if line_column else "")


def with_values(resolved: Resolved, values: Mapping[str, YamlValue]) -> Scenario:
    """Return the scenario of one sweep point. Raises UsageError."""
    return changed(resolved, values, "sweep").scenario


def changed(resolved: Resolved, values: Mapping[str, YamlValue], source: str) -> Resolved:
    """Return a copy with the values at these paths replaced; `source` is their origin. Raises UsageError."""
    tree = _Layers(Document(source, {}))
    tree.data, tree.origins = copy.deepcopy(resolved.data), dict(resolved.origins)
    kept = {origin[0].source for origin in resolved.origins.values()}
    for path, value in values.items():
        tree.put(tuple(path.split(".")), value, (Document(f"{source}.{path} = {value}", None), ()))
    # An error names the value that replaced another, not the place of what was there.
    replaced = {path: origin for path, origin in tree.origins.items() if origin[0].source not in kept}
    scenario = _validate(Scenario, tree.data, replaced, Document(source, {}))
    made = Resolved(scenario, resolved.settings, tree.data, tree.origins, resolved.folder)
    return _with_files(made, Document(source, {}))


def _with_files(resolved: Resolved, document: Document) -> Resolved:
    """Return `resolved` if all files that it names are in its folder. Raises UsageError."""
    folder = resolved.folder.resolve()
    for place, name in resolved.scenario.files():
        file = (folder / name).resolve()
        if not file.is_file() or not file.is_relative_to(folder):
            message = (
                f"no file {name} in the scenario's folder"
                if not file.is_file()
                else f"{name} links to a file outside the scenario's folder"
            )
            raise _error_at(place, message, resolved.origins, document)
    return resolved


def first_comment(path: Path) -> str:
    """Return the first comment line of a scenario, which is its question, or an empty text."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            return line.lstrip("# ").strip()
        if line.strip():
            break
    return ""


def _key_in(holder: Any, key: str | int) -> str | int:
    """Return the key as `holder` has it: the index of a list element (`links.0.delay`), else the text."""
    if isinstance(holder, list) and str(key).isdigit() and int(key) < len(holder):
        return int(key)
    return str(key)


def _no_child(place: Keys, holder: YamlValue, key: str | int) -> str:
    """Describe a path that leads nowhere: `swarm.users: 10 has no 'x'`."""
    has = f"a list of {len(holder)}" if isinstance(holder, list) else repr(holder)
    return f"{show_path(place)}{has} has no {str(key)!r}"


class _Layers:
    """Nested data, merged layer by layer."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.data: YamlMap = {}
        self.origins: dict[Keys, Origin] = {}

    def merge(self, document: Document, data: YamlMap, at: Keys = (), within: Keys = ()) -> None:
        """Merge `data` (at `within` in `document`) into `at`: maps merge, other values replace."""
        for key, value in data.items():
            path, origin = (*at, key), (document, (*within, key))
            if isinstance(value, dict) and isinstance(self.find(path), dict):
                self.origins[path] = origin
                self.merge(document, value, path, origin[1])
            else:
                self.put(path, copy.deepcopy(value), origin)

    def put(self, path: Keys, value: YamlValue, origin: Origin) -> None:
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
                raise UsageError(f"{origin[0].source}: {_no_child(place, target, following)}")
        place = (*place, _key_in(target, path[-1]))
        for known in [known for known in self.origins if known[: len(place)] == place]:
            del self.origins[known]
        target[place[-1]] = value
        self._mark(place, value, origin)

    def _mark(self, path: Keys, value: YamlValue, origin: Origin) -> None:
        self.origins[path] = origin
        if isinstance(value, dict | list):
            for key, child in value.items() if isinstance(value, dict) else enumerate(value):
                self._mark((*path, key), child, (origin[0], (*origin[1], key)))

    def find(self, path: Keys) -> YamlValue:
        value: YamlValue = self.data
        for key in path:
            if not isinstance(value, dict) or key not in value:
                return None
            value = value[str(key)]
        return value

    def override(self, dotted: str, text: str, source: str) -> None:
        """Set one value from a flag or the environment; the text is parsed as YAML."""
        value = read_value(text, source)
        self.put(tuple(dotted.split(".")), value, (Document(source, value), ()))


def _merge_defaults(tree: _Layers, defaults: Document, shared: YamlMap, scenario: YamlMap) -> None:
    for key, value in shared.items():
        if key == "swarm" and is_map_of_groups(groups := scenario.get("swarm")):
            for name in groups:
                mine = _mapping(defaults, value, ("defaults", "swarm"))
                tree.merge(defaults, mine, ("swarm", name), ("defaults", "swarm"))
            continue
        if key != "server":
            tree.merge(defaults, {key: value}, (), ("defaults",))
            continue
        servers = scenario.get("servers")
        for name, server in servers.items() if isinstance(servers, dict) else ():
            if isinstance(server, dict):
                mine = _mapping(defaults, value, ("defaults", "server"))
                tree.merge(defaults, mine, ("servers", name), ("defaults", "server"))


def _split_defaults(defaults: Document) -> tuple[YamlMap, YamlValue]:
    """Split lab.yaml into its settings and its `defaults` for scenarios."""
    data = dict(_mapping(defaults, {} if defaults.data is None else defaults.data, ()))
    shared = data.pop("defaults", {})
    return data, shared


def _mapping(document: Document, data: YamlValue, path: Keys) -> YamlMap:
    if data is None and not path:
        raise document.error(path, "the file is empty: a scenario needs name, servers and swarm")
    if not isinstance(data, dict):
        raise document.error(path, "must be a mapping of keys to values")
    return data


def _from_environment(environment: Mapping[str, str]) -> Iterable[tuple[str, str, str]]:
    """Yield variables, paths, values: `LAB_SET_SWARM__SPAWN_RATE`, `swarm.spawn-rate`, `100`."""
    for name, text in sorted(environment.items()):
        if name.startswith("LAB_SET_"):
            yield name, name[8:].lower().replace("__", ".").replace("_", "-"), text


def _validate(kind: type[P], data: YamlMap, origins: Mapping[Keys, Origin], document: Document) -> P:
    try:
        return kind.model_validate(data, context=AS_WRITTEN)
    except ValidationError as error:
        raise _first_error(error, origins, document) from None


def _first_error(error: ValidationError, origins: Mapping[Keys, Origin], document: Document) -> UsageError:
    path, message = first_message(error)
    if path[:2] == ("swarm", "groups"):
        path = ("swarm", *path[2:])  # groups are written below swarm itself
    return _error_at(path, message, origins, document, at_key=error.errors()[0]["type"] == "unknown_key")


def _error_at(
    path: Keys,
    message: str,
    origins: Mapping[Keys, Origin],
    document: Document,
    at_key: bool = False,
) -> UsageError:
    """Make an error at a path. A flag or a variable that sets just this value names it already."""
    here = path
    while here and here not in origins:
        here = here[:-1]
    where, place = origins.get(here, (document, here))
    if where.places:
        return where.error(
            place if here == path else (*place, *path[len(here) :]),
            message,
            at_key=at_key,
        )
    is_named = here == path and path and not place
    return UsageError(f"{where.source}: {'' if is_named else show_path(path)}{message}")
