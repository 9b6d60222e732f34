"""In what two runs differ besides what was to be compared: the environment, the limits, the load itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from lab.analysis import scheduling
from lab.analysis.comparison_model import Drift
from lab.common.leaves import leaves
from lab.results.record import Run

# The fingerprint of a machine: figures of two machines cannot be compared.
MACHINE = tuple(f"environment.host.{name}" for name in ("machine", "cpu_model", "cpus", "memory_bytes"))
# What the measurement itself hangs on: another load, or another kind of node, is another experiment.
EXPERIMENT = (
    "environment.runtime",
    "environment.placement",
    "environment.scheduling",
    "load.swarm",
    "load.handler",
    "load.links",
    "load.sweep",
)
# Changes from call to call and says nothing.
IGNORED = ("environment.host.memory_available_bytes", "environment.host.swap_used_bytes")


def several_machines(run: Run) -> bool:
    """Whether a run was merged of runs on different machines."""
    return (run.manifest.machines or 1) > 1


def differences(base: Run, head: Run) -> Iterator[Drift]:
    """Every fact in which the runs differ, those that rule a decision out first."""
    ours, theirs = _facts(base), _facts(head)
    found = [
        Drift(fact=fact, base=_show(ours.get(fact)), head=_show(theirs.get(fact)), matters=_matters(fact))
        for fact in sorted({*ours, *theirs})
        if ours.get(fact) != theirs.get(fact)
    ]
    yield from sorted(found, key=lambda drift: not drift.matters)


def _matters(fact: str) -> bool:
    return any(fact == name or fact.startswith(name + ".") for name in (*MACHINE, *EXPERIMENT))


def _facts(run: Run) -> dict[str, Any]:
    # Trials run in a shuffled order: the first by name is at the same sweep point in both runs.
    first = (
        min(run.trials, key=lambda trial: trial.id).scenario.model_dump(mode="json", by_alias=True)
        if run.trials
        else {}
    )
    load = {name: first.get(name) for name in ("swarm", "handler", "links", "sweep", "servers")}
    manifest = run.manifest.to_json()
    kept = {name: manifest.get(name) for name in ("environment", "limits", "seed", "scenario_sha256")}
    if scheduled := scheduling.policies(run.trials):
        kept["environment"] = {**(kept["environment"] or {}), "scheduling": scheduled}
    named = {
        ".".join(path): value for path, value in leaves({**kept, "load": load, "scenario": run.scenario})
    }
    return {
        name: json.loads(json.dumps(value, default=str))
        for name, value in named.items()
        if name not in IGNORED
    }


def _show(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
