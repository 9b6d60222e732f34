"""Records of earlier versions, brought to today's shape: the only place that knows how they differed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SCHEMA_VERSION = 2
# Version 1 wrote an empty object for what a failed trial never came to.
_EMPTY_WAS_NONE = ("placement", "ready", "calibration")


def upgrade(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON of a record in today's version; the argument is left alone. Raises ValueError."""
    version = record.get("schema_version")
    if type(version) is int and version == SCHEMA_VERSION:
        return _with_phases(record)
    if type(version) is int and version == 1:
        return _with_phases(_from_1(record))
    raise ValueError(f"schema_version {version}: this lab reads 1 to {SCHEMA_VERSION}")


def _with_phases(record: Mapping[str, Any]) -> dict[str, Any]:
    """Before phases had a cool-down, the load ended with the window. What is no record is left as it is."""
    try:
        swarm = record["scenario"]["swarm"]
        told = _ended_at_once(swarm)
        if "groups" in swarm:
            told["groups"] = {name: _ended_at_once(group) for name, group in swarm["groups"].items()}
    except (AttributeError, KeyError, TypeError):
        return dict(record)
    return {**record, "scenario": {**record["scenario"], "swarm": told}}


def _ended_at_once(swarm: Mapping[str, Any]) -> dict[str, Any]:
    return {**swarm, "phases": {"cooldown": 0.0, **swarm["phases"]}}


def _from_1(record: Mapping[str, Any]) -> dict[str, Any]:
    changed: dict[str, Any] = {name: None for name in _EMPTY_WAS_NONE if record.get(name) == {}}
    load = record.get("load")
    changed |= {"load": _load(load)} if load else {}
    return {**record, **changed, "schema_version": SCHEMA_VERSION}


def _load(load: Mapping[str, Any]) -> dict[str, Any]:
    groups = {name: _load(one) for name, one in load.get("groups", {}).items()}
    errors = {kind: _error(seen) for kind, seen in load["result"].get("errors", {}).items()}
    return {**load, "result": {**load["result"], "errors": errors}, "groups": groups}


def _error(seen: Any) -> Any:
    """Early records counted the errors of a kind, and told nothing else of them."""
    return {"count": seen} if isinstance(seen, int) else seen
