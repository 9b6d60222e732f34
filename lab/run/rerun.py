"""Run a stored run again: the same scenario and values, whatever files and flags say now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from lab.common.errors import UsageError
from lab.common.leaves import leaves
from lab.results import store
from lab.results.base import describe, read_json
from lab.results.manifest import Environment
from lab.scenario import resolve
from lab.scenario.resolve import Resolved, Settings
from lab.scenario.scenario import Scenario

# What changes from minute to minute on the same host.
VOLATILE = {"host.memory_available_bytes", "host.swap_used_bytes", "engine.containers_running"}


class Difference(NamedTuple):
    """One fact of the environment that has changed; None where there was, or is, no such fact."""

    what: str
    then: Any
    now: Any


class Recorded(NamedTuple):
    """What it takes to run a stored run again."""

    resolved: Resolved
    servers: tuple[str, ...]
    runtime: str
    environment: Mapping[str, Any]
    scenario_file: Path


def read(run: Path, now: Settings) -> Recorded:
    """Return a run's scenario with the values it had, its servers, its runtime. Raises UsageError."""
    manifest = store.read_manifest(run)
    as_it_was = _as_it_was(run)
    ran = {trial.server for trial in manifest.plan.trials}
    if foreign := sorted(ran - set(as_it_was.scenario.servers)):
        raise UsageError(
            f"{run}: damaged: its scenario has no server {', '.join(foreign)}, which it measured"
        )
    if not (scenario_file := run / "scenario.yaml").is_file():
        raise UsageError(f"{scenario_file}: there is no such file: the run is not complete")
    environment = manifest.environment or Environment()
    return Recorded(
        resolved=replace(as_it_was, settings=now),
        servers=tuple(name for name in as_it_was.scenario.servers if name in ran),
        runtime=environment.runtime or "(none recorded)",
        environment=environment.to_json(),
        scenario_file=scenario_file,
    )


def _as_it_was(run: Path) -> Resolved:
    """Return the scenario with the values it had. Raises UsageError for torn values, or another run's."""
    values, stored = run / "scenario.resolved.yaml", run / "scenario.resolved.json"
    if not values.exists():
        raise UsageError(
            f"{run}: the run does not hold the values of its scenario (older lab): run it by name"
        )
    resolved = resolve.load(values, lab_yaml=run / "no lab.yaml", source=f"{run.name}/{values.name}")
    try:
        scenario = Scenario.model_validate(read_json(stored))
    except (OSError, ValueError) as error:
        raise UsageError(f"{stored}: cannot be read: {describe(error)}") from error
    if scenario != resolved.scenario:
        raise UsageError(f"{values}: differs from {stored.name}: one of them is damaged or of another run")
    return resolved


def differences(then: Mapping[str, Any], now: Mapping[str, Any], known: bool = True) -> list[Difference]:
    """Return what differs between two environments; with `known` False only for facts that `now` has."""
    before, after = _facts(then), _facts(now)
    names = [*before, *(name for name in after if name not in before)] if known else list(after)
    return [
        Difference(name, before.get(name), after.get(name))
        for name in names
        if name not in VOLATILE and before.get(name) != after.get(name)
    ]


def _facts(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return every fact by its dotted name; a stored tuple was read back as a list."""
    return {
        ".".join(path): list(value) if isinstance(value, tuple) else value
        for path, value in leaves(environment)
        if value != {}
    }
