"""A scenario that was read, with the origin of each value; copies of it with other values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lab.scenario.layers import Layers, Origin
from lab.scenario.located import refused, validated
from lab.scenario.problem import Problem, Refused
from lab.scenario.scenario import Scenario
from lab.scenario.settings import Settings
from lab.scenario.yaml_file import Document, Keys, YamlMap, YamlValue, written


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
        line = found.document.places.get(found.place)
        return f"{found.document.source}:{line[0]}" if line else found.document.source

    def refused(self, problem: Problem) -> Refused:
        """Make the error of a problem, at the place of the value."""
        return refused(problem, self.origins, Document("the scenario", {}))


def with_values(resolved: Resolved, values: Mapping[str, YamlValue]) -> Scenario:
    """Return the scenario of one sweep point. Raises Refused."""
    return changed(resolved, values, "sweep").scenario


def changed(resolved: Resolved, values: Mapping[str, YamlValue], source: str) -> Resolved:
    """Return a copy with the values at these paths replaced; `source` is their origin. Raises Refused."""
    tree = Layers(resolved.data, resolved.origins)
    before = tree.layer
    for path, value in values.items():
        tree.put(path, value, f"{source}.{path} = {written(value)}")
    # An error names the value that replaced another, not the place of what was there.
    replaced = {path: origin for path, origin in tree.origins.items() if origin.layer > before}
    document = Document(source, {})
    scenario = validated(Scenario, tree.data, replaced, document)
    made = Resolved(scenario, resolved.settings, tree.data, tree.origins, resolved.folder)
    if problem := files_problem(made):
        raise refused(problem, replaced, document)
    return made


def files_problem(resolved: Resolved) -> Problem | None:
    """Return what is wrong with a file that the scenario names: it must be in the scenario's folder."""
    folder = resolved.folder.resolve()
    for place, name in resolved.scenario.files():
        file = (folder / name).resolve()
        if not file.is_file():
            return Problem((place,), f"no file {name} in the scenario's folder")
        if not file.is_relative_to(folder):
            return Problem((place,), f"{name} links to a file outside the scenario's folder")
    return None
