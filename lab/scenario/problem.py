"""Errors of a scenario that know which key or value is wrong."""

from __future__ import annotations

from typing import NamedTuple

from pydantic_core import PydanticCustomError

from lab.common.errors import UsageError
from lab.scenario.yaml_file import Keys, show_path

KIND = "wrong_at"


class Problem(NamedTuple):
    """What is wrong, in plain words, and where.

    `paths` are the keys that the problem concerns, the likeliest error first. Where one of them was set by a
    later layer (a flag, a sweep), that one is told. With `at_key` the key itself is wrong, not its value.
    """

    paths: tuple[Keys, ...]
    message: str
    at_key: bool = False


class Refused(UsageError):
    """A problem of a scenario, with its place in the text; `path` is the key that is told."""

    def __init__(self, text: str, problem: Problem, path: Keys) -> None:
        super().__init__(text)
        self.problem = problem
        self.path = path


def wrong(message: str, *paths: Keys, at_key: bool = False) -> PydanticCustomError:
    """Make the error of a validator that concerns these keys, by their paths below the validated value."""
    places = paths or ((),)
    context = {"where": show_path(places[0]), "message": message, "paths": places, "at_key": at_key}
    return PydanticCustomError(KIND, "{where}{message}", context)
