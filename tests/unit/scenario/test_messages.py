"""Errors in plain words: each says what would be right, and none is text of pydantic."""

# ruff: noqa: E501  (tables are easier to read in one line a row)

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from lab.common.errors import UsageError
from lab.scenario.event import Event, Ramp
from lab.scenario.examples import BOOLEANS
from lab.scenario.link import LinkSpec
from lab.scenario.messages import first_problem
from lab.scenario.resolve import load
from lab.scenario.scenario import Scenario
from lab.scenario.server import Server
from lab.scenario.settings import Settings
from lab.scenario.strict import AS_WRITTEN, ScenarioModel
from lab.scenario.swarm import Clients, Page, Phases, Swarm
from lab.scenario.yaml_file import parse, show_path, written

ROOT = {
    "name": "good",
    "servers": {
        "thread": {
            "model": "thread", "image": "mine:1", "port": 9102, "workers": 1, "backlog": 128, "cpus": 1.5,
            "memory": "1GiB", "nofile": 1024, "pids": 256,
        },
    },
    "handler": {"sleep": "10ms"},
    "swarm": {
        "wire": "http1", "workers": 2, "engines": 1, "users": 10, "spawn-rate": 500,
        "load": {
            "executor": "ramping-arrival-rate", "start-rate": "10/s", "arrivals": "poisson",
            "stages": [{"duration": "1s", "target": "100/s"}],
        },
        "clients": {"idle": "10%", "churn": False},
        "page": {"paths": ["/"], "at-once": False},
        "phases": {"warmup": "1s", "measure": "10s"},
        "connect-deadline": "1s", "request-timeout": "1s", "drain": "1s",
    },
    "links": [
        {
            "endpoints": ["swarm", "servers"], "delay": "10ms", "jitter": "1ms", "correlation": "1%",
            "distribution": "normal", "loss": "1%", "loss-correlation": "1%", "corrupt": "1%",
            "duplicate": "1%", "reorder": "1%", "gap": 2, "rate": "10mbit", "limit": "auto",
            "there": {"delay": "20ms"}, "back": {"delay": "5ms"},
        },
    ],
    "events": [
        {"at": "1s", "for": "1s", "link": ["swarm", "servers"], "set": {"delay": "1ms"}},
        {"at": "2s", "for": "1s", "link": ["swarm", "servers"], "ramp": {"to": {"delay": "1ms"}, "steps": 5}},
        {"at": "4s", "for": "1s", "partition": ["swarm", "servers"]},
        {"at": "6s", "for": "1s", "pause": "thread"},
        {"at": "7s", "kill": "thread"},
        {"at": "8s", "for": "1s", "limit": "thread", "cpus": 0.5, "memory": "1GiB"},
    ],
    "sweep": {"swarm.users": [10, 20]},
    "repeat": 3,
    "seed": 1,
    "thresholds": {
        "thread": {"latency": [{"threshold": "p(99)<1s", "abort_on_fail": True, "delay_abort_eval": "1s"}]}
    },
    "expect": {"thread": {"max_open": 10, "served_at_once": 1}},
    "question": "Is it?",
}  # fmt: skip
THINK = {"uniform": ["100ms", "900ms"]}, {"exponential": "1s"}, {"lognormal": {"median": "1s", "sigma": 0.5}}
WRONG: list[Any] = [
    None, True, -1, 0, 5, 10**17, 1.5, -1.5, "x", "", "100", "5%", "10/s", "x" * 200, [], [1], ["a"],
    ["a", "b", "c"], [[]], {}, {"a": 1}, {"a": {}}, {"Bad Name": {}}, {"a": "thread"}, [{}], [None], [{"a": 1}],
]  # fmt: skip
RAW = ("Input should", "Extra inputs", "Tuple should", "Dictionary should", "List should", "Field required",
       "Value error", "valid dictionary", "valid integer", "instance of", "[key]", "_ms")  # fmt: skip


def error_of(folder: Path, data: Any, **options: Any) -> str:
    """Return the error of a scenario; empty if it is valid."""
    path = folder / "s.yaml"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    try:
        load(path, lab_yaml=folder / "absent.yaml", **options)
    except UsageError as error:
        return str(error)
    return ""


def message_of(data: Any) -> str:
    """Return the first message about data that a person wrote; empty if it is valid."""
    try:
        Scenario.model_validate(data, context=AS_WRITTEN)
    except ValidationError as error:
        problem = first_problem(error)
        return show_path(problem.paths[0]) + problem.message
    return ""


def places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value."""
    if path:
        yield path
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in inner:
        yield from places(value, (*path, key))


def with_value(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return a copy with another value at a path."""
    made = copy.deepcopy(data)
    holder = made
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return made


def closed(think: Any) -> Any:
    """Return the scenario with a closed load."""
    return with_value(ROOT, ("swarm", "load"), {"executor": "constant-users", "think-time": think})


def test_the_whole_scenario_is_valid(tmp_path):
    assert error_of(tmp_path, ROOT) == ""
    assert [error_of(tmp_path, closed(think)) for think in THINK] == ["", "", ""]


def test_no_wrong_value_of_any_key_gives_text_of_pydantic():
    wrong = [(ROOT, place) for place in places(ROOT)]
    wrong += [(data, p) for data in map(closed, THINK) for p in places(data) if "think-time" in p]
    groups = with_value(ROOT, ("swarm",), {"one": ROOT["swarm"], "two": ROOT["swarm"]})
    wrong += [
        (groups, ("swarm", "one")),
        (groups, ("swarm", "one", "users")),
        (groups, ("swarm", "one", "load")),
    ]
    refused = 0
    for data, place in wrong:
        for value in WRONG:
            message = message_of(with_value(data, place, value))
            assert not [raw for raw in RAW if raw in message], (place, value, message)
            assert "\n" not in message
            refused += bool(message)
    assert refused > 1000


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("swarm", "users"), "ten", "swarm.users: write a whole number, such as 100"),
        (("swarm", "users"), "100", "swarm.users: write a whole number, such as 100"),
        (("swarm", "users"), 1.5, "swarm.users: write a whole number, such as 100"),
        (("swarm", "users"), 0, "swarm.users: 0 must be at least 1"),
        (("swarm", "clients", "churn"), 1, "swarm.clients.churn: write true or false"),
        (("servers",), {"a": "thread"}, "servers.a: a server is a map, such as {model: thread}"),
        (("servers",), {}, "servers: give at least one server"),
        (("servers",), [1], "servers: servers are a map"),
        (("swarm",), "x", "swarm: a swarm is a map, such as {users"),
        (("swarm", "load"), "x", "swarm.load: a load is a map, such as {executor"),
        (("events",), ["x"], "events[0]: an event is a map"),
        (("links",), ["x"], "links[0]: a link is a map"),
        (("links", 0, "there"), "x", "links[0].there: a direction is a map"),
        (("links", 0, "back"), 1, "links[0].back: a direction is a map"),
        (("links", 0, "endpoints"), ["swarm"], "links[0].endpoints: give two endpoints, such as [swarm, servers]"),
        (("links", 0, "endpoints"), ["a", "b", "c"], "links[0].endpoints: give two endpoints, such as [swarm, servers]"),
        (("thresholds",), {"thread": {"latency": "p(99)<1ms"}}, "thresholds.thread.latency: write a list: ['p(99)<1ms']"),
        (("thresholds",), {"latency": ["p(99)<1ms"]}, "thresholds.latency: the name of a server comes first: {thread: {latency: ['p(99)<100ms']}}"),
        (("links", 0, "delay"), "1h", "links[0].delay: 3600s is more than 60s"),
        (("links", 0, "jitter"), "0s", "links[0].correlation: correlation needs jitter"),
        (("links", 0, "loss"), "0%", "links[0].loss-correlation: loss-correlation needs loss"),
        (("swarm", "spawn_rate"), 100, "swarm.spawn_rate: unknown key 'spawn_rate'; did you mean spawn-rate?"),
        (("events", 0, "duration"), "1s", "events[0].duration: unknown key 'duration'; did you mean for?"),
    ],
)  # fmt: skip
def test_an_error_says_what_would_be_right(tmp_path, path, value, says):
    assert says in error_of(tmp_path, with_value(ROOT, path, value))


def advised(message: str) -> str:
    """Return the example of a message that ends with one."""
    return message.rpartition("such as ")[2] if "such as " in message else ""


@pytest.mark.parametrize("wrong", [{"a": {}}, [[]], -1, "x", True])
def test_what_an_error_advises_is_valid_at_the_key(wrong):
    tried = 0
    for place in places(ROOT):
        message = message_of(with_value(ROOT, place, wrong))
        example = advised(message)
        if not example or "{…}" in example or " or " in example or not message.startswith(show_path(place)):
            continue
        right = with_value(ROOT, place, parse(f"a: {example}", "advice").data["a"])
        problem = message_of(right)
        assert not problem.startswith(f"{show_path(place)}write"), (place, message, problem)
        assert not [words for words in ("has no unit", "not a") if words in problem], (place, problem)
        tried += 1
    assert tried > 10


def boolean_keys(kind: type[ScenarioModel]) -> set[str]:
    """Return the keys of a model that take true or false."""
    return {
        field.alias or name for name, field in kind.model_fields.items() if "bool" in str(field.annotation)
    }


def test_the_keys_that_take_true_or_false_are_known():
    kinds = (Scenario, Settings, Server, Swarm, Clients, Page, Phases, LinkSpec, Event, Ramp)
    found = set().union(*map(boolean_keys, kinds)) - {"thresholds"}
    assert found | {"abort_on_fail"} == set(BOOLEANS)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"delay": "5ms", "loss": None}, "{delay: 5ms, loss: null}"),
        ([1, True, {"a": []}], "[1, true, {a: []}]"),
        ("x", "x"),
    ],
)
def test_a_value_is_shown_as_a_person_writes_it(value, text):
    assert written(value) == text
