"""The errors of a scenario in plain words: where the error is, and what would be right.

A model refuses a value with a type of error of pydantic; here each type has its words, with an example.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from lab.scenario.examples import EXAMPLES
from lab.scenario.problem import KIND, Problem
from lab.scenario.strict import unknown
from lab.scenario.threshold import METRICS
from lab.scenario.yaml_file import Keys, written

# What pydantic tells of an error beside its type: the bound that was crossed, the words that are known.
Context = Mapping[str, Any]
Wording = Callable[[Keys, Any, Context], str]

_DIRECTION = "a direction is a map, such as {delay: 50ms}"
_ENDPOINTS = "give two endpoints, such as [swarm, servers]"
_SERVERS = "{thread: {model: thread}}"
# What belongs at a place, by the end of its path ("*" is any key); the first that fits.
SHAPES: tuple[tuple[tuple[str, ...], str], ...] = (
    (("servers", "*"), "a server is a map, such as {model: thread}"),
    (("groups", "*"), "a group is a map, such as {users: 100, load: {…}}"),
    (("links", "*"), "a link is a map, such as {endpoints: [swarm, servers], delay: 50ms}"),
    (("events", "*"), "an event is a map, such as {at: 2s, for: 1s, pause: thread}"),
    (("stages", "*"), "a stage is a map, such as {duration: 5s, target: 900/s}"),
    (("expect", "*"), "the limits of a server are a map, such as {max_open: 1024}"),
    (("thresholds", "*", "*"), "write a list: ['p(99)<100ms']"),
    (("thresholds", "*"), "the thresholds of a server are a map, such as {latency: ['p(99)<100ms']}"),
    (("sweep", "*"), "write a list of values, such as [10, 100]"),
    (("paths", "*"), "write a path, such as /json"),
    (("uniform", "*"), "write a duration, such as 100ms"),
    (("endpoints", "*"), "write a name, such as swarm or servers"),
    (("link", "*"), "write a name, such as swarm or servers"),
    (("partition", "*"), "write a name, such as swarm or servers"),
    (("servers",), f"servers are a map, such as {_SERVERS}"),
    (("swarm",), "a swarm is a map, such as {users: 100, load: {…}}"),
    (("load",), "a load is a map, such as {executor: constant-arrival-rate, rate: 100/s}"),
    (("clients",), "clients are a map, such as {idle: 90%}"),
    (("page",), "a page is a map, such as {paths: [/, /json]}"),
    (("phases",), "phases are a map, such as {warmup: 3s, measure: 10s}"),
    (("lognormal",), "a lognormal time is a map, such as {median: 500ms, sigma: 0.5}"),
    (("ramp",), "a ramp is a map, such as {to: {delay: 50ms}}"),
    *(((name,), _DIRECTION) for name in ("there", "back", "set", "merge", "to")),
    (("thresholds",), "thresholds are a map, such as {thread: {latency: ['p(99)<100ms']}}"),
    (("expect",), "expect is a map, such as {thread: {max_open: 1024}}"),
    (("sweep",), "a sweep is a map, such as {swarm.users: [10, 100]}"),
    (("links",), "write a list of links, such as [{endpoints: [swarm, servers], delay: 50ms}]"),
    (("events",), "write a list of events, such as [{at: 2s, for: 1s, pause: thread}]"),
    (("stages",), "write a list of stages, such as [{duration: 5s, target: 900/s}]"),
    (("paths",), "give at least one path, such as [/json]"),
    *(((name,), _ENDPOINTS) for name in ("endpoints", "link", "partition")),
    (("uniform",), "give two times, such as [100ms, 900ms]"),
)  # fmt: skip


def first_problem(error: ValidationError) -> Problem:
    """Return the first error in plain words: which keys it concerns, and what is wrong."""
    first = error.errors(include_url=False)[0]
    path: Keys = first["loc"]
    if first["type"] == KIND:
        found = first["ctx"]
        return Problem(tuple((*path, *one) for one in found["paths"]), found["message"], found["at_key"])
    is_key = path[-1:] == ("[key]",)
    path, message = _path_and_message(path[:-1] if is_key else path, first)
    return Problem((path,), message, is_key or first["type"] == "unknown_key")


def _path_and_message(path: Keys, first: ErrorDetails) -> tuple[Keys, str]:
    kind, context = first["type"], first.get("ctx", {})
    if kind == "unknown_key":
        return (*path, context["key"]), first["msg"]
    if kind == "value_error":
        return path, str(context["error"])
    if kind == "missing":
        return path[:-1], _shape(path[:-1]) if isinstance(path[-1], int) else f"{path[-1]!r} is missing"
    if kind == "literal_error":
        known = context["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        return path, unknown(_written(first["input"]), known, "value")
    words = WORDS[kind](path, first["input"], context) if kind in WORDS else _any_value(path)
    return path, words


def _shape(path: Keys) -> str:
    """Describe what belongs at a path."""
    for pattern, words in SHAPES:
        end = path[-len(pattern) :]
        if len(end) == len(pattern) and all(p in ("*", key) for p, key in zip(pattern, end, strict=True)):
            return words
    return _any_value(path)


def _example(path: Keys, otherwise: str) -> str:
    return EXAMPLES.get(str(path[-1]) if path else "", otherwise)


def _any_value(path: Keys) -> str:
    return f"the lab cannot read this value: write one such as {_example(path, '100')}"


def _number(kind: str, example: str) -> Wording:
    return lambda path, _value, _context: f"write {kind}, such as {_example(path, example)}"


def _map(path: Keys, _value: Any, _context: Context) -> str:
    if len(path) == 2 and path[0] == "thresholds" and path[1] in METRICS:
        return f"the name of a server comes first: {{thread: {{{path[1]}: ['p(99)<100ms']}}}}"
    return _shape(path)


def _list(path: Keys, value: Any, _context: Context) -> str:
    if path[:1] == ("thresholds",) and isinstance(value, str):
        return f"write a list: [{value!r}]"
    return _shape(path)


def _text(path: Keys, _value: Any, _context: Context) -> str:
    is_element = isinstance(path[-1], int)
    return _shape(path) if is_element else f"write text, such as {_example(path, 'thread')}"


def _short(path: Keys, _value: Any, _context: Context) -> str:
    return f"give at least one server, such as {_SERVERS}" if path == ("servers",) else _shape(path)


def _bound(words: str, key: str) -> Wording:
    return lambda _path, value, context: f"{_written(value)} must be {words} {context[key]:,.15g}"


def _written(value: Any) -> str:
    """Format a value as a person writes it, cut to a readable length."""
    text = written(value)
    return text if len(text) <= 40 else text[:40] + "…"


_WHOLE, _FLOAT = _number("a whole number", "100"), _number("a number", "1.5")
# The words for each type of error.
WORDS: Mapping[str, Wording] = {
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float", "int_parsing_size"), _WHOLE),
    **dict.fromkeys(("float_type", "float_parsing", "finite_number"), _FLOAT),
    **dict.fromkeys(("bool_type", "bool_parsing"), lambda *_: "write true or false"),
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type", "mapping_type"), _map),
    **dict.fromkeys(("list_type", "tuple_type"), _list),
    **dict.fromkeys(("too_short", "too_long"), _short),
    "string_type": _text,
    "greater_than": _bound("more than", "gt"),
    "greater_than_equal": _bound("at least", "ge"),
    "less_than": _bound("less than", "lt"),
    "less_than_equal": _bound("at most", "le"),
}
