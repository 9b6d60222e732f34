"""JSON Schemas of the scenario, of lab.yaml and of summary.json.

They are generated from the pydantic models, so that they agree with `lab validate`. `lab schema --write`
writes the files beside this one, for editors (the modeline in each scenario) and for programs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic.json_schema import JsonSchemaValue

from lab.analysis.model import Summary
from lab.common.errors import UsageError
from lab.scenario import catalog
from lab.scenario.resolve import Settings
from lab.scenario.scenario import Scenario
from lab.scenario.swarm import MAX_GROUPS
from lab.schema.descriptions import DESCRIPTIONS

DRAFT = "https://json-schema.org/draft/2020-12/schema"
FOLDER = Path(__file__).parent


def text(name: str) -> str:
    """Return the text of a schema's file. Raises UsageError for an unknown name."""
    if name not in SCHEMAS:
        raise UsageError(f"unknown schema {name!r}; known: {', '.join(SCHEMAS)}")
    return json.dumps({"$schema": DRAFT, **SCHEMAS[name]()}, indent=1, ensure_ascii=False) + "\n"


def _scenario() -> JsonSchemaValue:
    schema: JsonSchemaValue = _written(Scenario.model_json_schema())
    schema["$defs"]["Server"]["properties"]["model"]["enum"] = list(catalog.models())
    swarm = schema["$defs"]["Swarm"]
    swarm["required"] = [name for name in swarm["required"] if name != "load"]
    swarm["anyOf"] = [{"required": ["load"]}, {"required": ["locustfile"]}]  # a locustfile defines the load
    del swarm["properties"]["groups"]
    one = {"$ref": "#/$defs/Swarm"}
    groups = {"type": "object", "additionalProperties": one, "minProperties": 1, "maxProperties": MAX_GROUPS}
    schema["properties"]["swarm"] = {"anyOf": [one, groups]}
    return _described(schema)


def _settings() -> JsonSchemaValue:
    schema: JsonSchemaValue = _written(Settings.model_json_schema())
    shared = _scenario()
    parts = {name: shared["$defs"][name] for name in ("Server", "Swarm")}
    for part in parts.values():
        part.pop("anyOf", None)
        part.pop("required", None)  # a default may leave out any key
    properties = {name: part for name, part in shared["properties"].items() if name != "servers"}
    properties |= {"server": {"$ref": "#/$defs/Server"}, "swarm": {"$ref": "#/$defs/Swarm"}}
    schema["$defs"] = shared["$defs"]
    schema["properties"]["defaults"] = {
        "type": "object",
        "description": "Defaults for all scenarios. `server` is for each server; other keys as there.",
        "properties": properties,
        "additionalProperties": False,
    }
    return _described(schema)


def _summary() -> JsonSchemaValue:
    return Summary.model_json_schema(mode="serialization")


SCHEMAS: Mapping[str, Callable[[], JsonSchemaValue]] = {
    "scenario": _scenario,
    "settings": _settings,
    "summary": _summary,
}


def _written(schema: Any) -> Any:
    """Return the schema of the written form: no null for optional keys, no defaults in base units."""
    if isinstance(schema, list):
        return [_written(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    options = [part for part in schema.get("anyOf", ()) if part != {"type": "null"}]
    if options:
        rest = {key: value for key, value in schema.items() if key != "anyOf"}
        schema = {**rest, **options[0]} if len(options) == 1 else {**rest, "anyOf": options}
    tidy = {key: _written(value) for key, value in schema.items() if not _misleads(schema, key)}
    if "title" in tidy and isinstance(tidy["title"], str):
        del tidy["title"]
    return tidy


def _described(schema: JsonSchemaValue) -> JsonSchemaValue:
    """Describe every property, by the definition that it stands in."""
    for name, part in schema.get("$defs", {}).items():
        _describe(part, DESCRIPTIONS.get(name, {}))
    _describe({key: part for key, part in schema.items() if key != "$defs"}, DESCRIPTIONS[""])
    return schema


def _describe(part: Any, known: Mapping[str, str]) -> None:
    """Add the descriptions that are missing, also to properties of properties."""
    if isinstance(part, list):
        for one in part:
            _describe(one, known)
    elif isinstance(part, dict):
        for name, one in part.get("properties", {}).items():
            if name in known:
                one.setdefault("description", known[name])
        for key, one in part.items():
            for inner in one.values() if key == "properties" else (one,):
                _describe(inner, known)


def _misleads(schema: JsonSchemaValue, key: str) -> bool:
    default = schema.get("default")
    return key == "default" and (default is None or ("pattern" in schema and not isinstance(default, str)))
