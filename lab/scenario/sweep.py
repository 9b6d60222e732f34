"""The points of a sweep, and what is refused in one: at the path or the value that is wrong."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

from lab.scenario.located import position
from lab.scenario.problem import Problem, Refused
from lab.scenario.resolved import Resolved, with_values
from lab.scenario.strict import unknown
from lab.scenario.swarm import is_map_of_groups
from lab.scenario.yaml_file import Keys, YamlValue, show_path, written

MAX_POINTS = 1000
# They describe the whole run: the same at all of its points.
OF_THE_RUN = ("name", "question", "repeat", "sweep", "servers")

Point = Mapping[str, YamlValue]


def sweep_points(sweep: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    """Return every combination of the values of a sweep; one empty point without a sweep."""
    return [dict(zip(sweep, values, strict=True)) for values in itertools.product(*sweep.values())]


def check_sweep(resolved: Resolved) -> None:
    """Refuse a path or a value that a sweep cannot set. Raises Refused at the entry of the sweep."""
    sweep = resolved.scenario.sweep
    if (points := math.prod(len(values) for values in sweep.values())) > MAX_POINTS:
        sizes = " × ".join(f"{len(values):,}" for values in sweep.values())
        message = f"{sizes} values are {points:,} points: at most {MAX_POINTS:,} are possible"
        raise _refused(resolved, ("sweep",), "sweep", message)
    for path in sweep:
        if message := _path_error(resolved, path):
            raise _refused(resolved, ("sweep", path), f"sweep.{path}", message, at_key=True)
    for point in sweep_points(sweep) if sweep else ():
        if problem := _problem(resolved, point):
            raise _point_error(resolved, point, problem)


def _path_error(resolved: Resolved, path: str) -> str:
    """Return what is wrong with a path whatever the value; empty if nothing is."""
    first, *others = path.split(".")
    if first in OF_THE_RUN and (first != "servers" or not others):
        return f"{first} is not a property of a point: it is the same for the whole run"
    holders = {"servers": ("server", True), "swarm": ("group", is_map_of_groups(resolved.data.get("swarm")))}
    what, by_name = holders.get(first, ("", False))
    known = resolved.data.get(first)
    if by_name and others and isinstance(known, dict) and others[0] not in known:
        return unknown(others[0], list(known), what)
    return ""


def _problem(resolved: Resolved, point: Point) -> Refused | None:
    try:
        with_values(resolved, point)
    except Refused as error:
        return error
    return None


def at_point(resolved: Resolved, point: Point, problem: Problem) -> Refused:
    """Make the error of a problem that a point has: at the swept value that it names."""
    named = (path for one in problem.paths for path in point if _rest(one, path) is not None)
    path = next(named, next(iter(point)))
    others = ", ".join(f"{other} = {written(value)}" for other, value in point.items() if other != path)
    return _at_value(resolved, path, point[path], problem, f" with {others}" if others else "")


def _point_error(resolved: Resolved, point: Point, error: Refused) -> Refused:
    """Make the error of a point: at the value that is wrong alone, else at the one that the problem names."""
    for path, value in point.items():
        if alone := _problem(resolved, {path: value}):
            return _at_value(resolved, path, value, alone.problem)
    return at_point(resolved, point, error.problem)


def _at_value(resolved: Resolved, path: str, value: YamlValue, problem: Problem, others: str = "") -> Refused:
    """Make the error at a swept value, or at the swept path if that names an unknown key."""
    at = next((one for one in problem.paths if _rest(one, path) is not None), problem.paths[0])
    rest = _rest(at, path)
    if problem.at_key and not rest:
        return _refused(resolved, ("sweep", path), f"sweep.{path}", problem.message, at_key=True)
    place: Keys = ("sweep", path, resolved.scenario.sweep[path].index(value), *(rest or ()))
    where = "" if rest == () else show_path(at)
    title = f"sweep.{path} = {written(value)}{others}"
    return _refused(resolved, place, title, where + problem.message, at_key=problem.at_key)


def _rest(path: Keys, swept: str) -> Keys | None:
    """Return what of a path is below the swept path: empty at it, None elsewhere."""
    parts = swept.split(".")
    return path[len(parts) :] if [str(key) for key in path[: len(parts)]] == parts else None


def _refused(resolved: Resolved, path: Keys, title: str, message: str, at_key: bool = False) -> Refused:
    while path not in resolved.origins:
        path = path[:-1]
    where = position(path, resolved.origins, at_key)
    return Refused(f"{where}: {title}: {message}", Problem((path,), message, at_key), path)
