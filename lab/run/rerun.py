"""A run again, from its manifest: the same scenario and values, whatever files and flags say now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from lab.common.errors import UsageError
from lab.results import store
from lab.results.manifest import Environment
from lab.scenario import resolve
from lab.scenario.resolve import Resolved, Settings

# What differs from one minute to the next on the same host.
PASSING = {"host.memory_available_bytes", "host.swap_used_bytes", "engine.containers_running"}


class Difference(NamedTuple):
    """One fact of the environment that is not what it was; None where there was, or is, none."""

    what: str
    then: Any
    now: Any


class Recorded(NamedTuple):
    """What is needed to run a run again."""

    resolved: Resolved
    servers: tuple[str, ...]
    runtime: str
    environment: Mapping[str, Any]
    scenario_file: Path


def read(run: Path, now: Settings) -> Recorded:
    """A run's scenario with the values it had, its servers, its runtime. Raises UsageError."""
    manifest = store.read_manifest(run)
    values = run / "scenario.resolved.yaml"
    if not values.exists():
        raise UsageError(f"{run}: made by a lab that did not record its scenario's values: run it by name")
    as_it_was = resolve.load(values, lab_yaml=run / "no lab.yaml", source=f"{run.name}/{values.name}")
    ran = {trial.server for trial in manifest.plan.trials}
    environment = manifest.environment or Environment()
    return Recorded(
        resolved=replace(as_it_was, settings=now),
        servers=tuple(name for name in as_it_was.scenario.servers if name in ran),
        runtime=str(environment.runtime),
        environment=environment.to_json(),
        scenario_file=run / "scenario.yaml",
    )


def differences(then: Mapping[str, Any], now: Mapping[str, Any], known: bool = True) -> list[Difference]:
    """What differs between two environments. With `known` False, what `now` does not tell is left out."""
    before, after = dict(_leaves(then)), dict(_leaves(now))
    names = [*before, *(name for name in after if name not in before)] if known else list(after)
    return [
        Difference(name, before.get(name), after.get(name))
        for name in names
        if name not in PASSING and before.get(name) != after.get(name)
    ]


def _leaves(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            yield from _leaves(inner, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", list(inner) if isinstance(inner, tuple) else inner
