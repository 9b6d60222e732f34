"""Validate what a person wrote; an error names the file, the line and the column of the value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from pydantic import ValidationError

from lab.scenario.layers import Origin
from lab.scenario.messages import first_problem
from lab.scenario.problem import Problem, Refused
from lab.scenario.strict import AS_WRITTEN, ScenarioModel
from lab.scenario.yaml_file import Document, Keys, YamlMap, show_path

P = TypeVar("P", bound=ScenarioModel)


def validated(kind: type[P], data: YamlMap, origins: Mapping[Keys, Origin], document: Document) -> P:
    """Return the data as a model. Raises Refused; `document` is where a value without an origin belongs."""
    try:
        return kind.model_validate(data, context=AS_WRITTEN)
    except ValidationError as error:
        raise refused(_as_written(first_problem(error)), origins, document) from None


def refused(problem: Problem, origins: Mapping[Keys, Origin], document: Document) -> Refused:
    """Make the error of a problem, at the key that the latest layer set."""
    path = told(problem, origins)
    return Refused(_text(path, problem, origins, document), problem, path)


def told(problem: Problem, origins: Mapping[Keys, Origin]) -> Keys:
    """Return the key to tell: the one that was set last; among equals the likeliest error."""
    return max(problem.paths, key=lambda path: origins[path].layer if path in origins else -1)


def position(path: Keys, origins: Mapping[Keys, Origin], at_key: bool = False) -> str:
    """Return where a value, or its key, was written: `c10k.yaml:9:3`, or its flag."""
    document, place, _ = origins[path]
    found = (document.key_places if at_key else document.places).get(place)
    return document.source + (f":{found[0]}:{found[1]}" if found else "")


def _as_written(problem: Problem) -> Problem:
    """Return the problem with the paths that a person writes: groups stand below swarm itself."""
    paths = [("swarm", *path[2:]) if path[:2] == ("swarm", "groups") else path for path in problem.paths]
    return problem._replace(paths=tuple(paths))


def _text(path: Keys, problem: Problem, origins: Mapping[Keys, Origin], document: Document) -> str:
    """Return the text of the error. A flag or a variable that sets just this value names it already."""
    here = path
    while here and here not in origins:
        here = here[:-1]
    where, place, _ = origins.get(here, Origin(document, here))
    if where.places:
        whole = place if here == path else (*place, *path[len(here) :])
        return str(where.error(whole, problem.message, at_key=problem.at_key))
    is_named = here == path and path and not place
    return f"{where.source}: {'' if is_named else show_path(path)}{problem.message}"
