"""Run folders for tests: real files in the store's format, without having run anything."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from lab.plan import plan
from lab.results import store
from lab.results.record import TrialRecord
from lab.run import session
from tests.support import records
from tests.support.scenarios import HOST, TEXT, resolved


def make_run(
    results: Path,
    *,
    text: str = TEXT,
    only: Sequence[str] = (),
    overrides: tuple[str, ...] = (),
    environment: dict[str, Any] | None = None,
    missing: Sequence[str] = (),
) -> Path:
    """A run of the scenario `text` in `results`: every trial has a record and a log, but the missing ones."""
    results.mkdir(parents=True, exist_ok=True)
    scenario = resolved(results, text, overrides)
    expanded = plan.expand(scenario, tuple(only))
    folder = store.RunFolder.create(results, scenario.scenario.name)
    folder.write("scenario.yaml", text)
    folder.write("scenario.resolved.yaml", yaml.safe_dump(scenario.data, sort_keys=False))
    folder.write("scenario.resolved.json", scenario.scenario.model_dump(mode="json"))
    for trial in expanded.trials:
        if trial.id in missing:
            continue
        path = folder.trial(trial.folder)
        record = TrialRecord(
            trial.id,
            trial.server,
            trial.repeat,
            dict(trial.point),
            "failed",
            trial.scenario,
            reason=folder.id,
        )
        folder.write(f"trials/{trial.folder}/record.json", record.to_json())
        (path / "server.log").write_text(f"{trial.id} of {folder.id}\n")
    host = {**HOST.to_json(), "cpus": list(HOST.cpus)}
    folder.write(
        "manifest.json",
        {
            "schema_version": 1,
            "run": folder.id,
            "scenario": scenario.scenario.name,
            "scenario_sha256": hashlib.sha256(text.encode()).hexdigest(),
            "question": "",
            "argv": ["run", "small"],
            "seed": scenario.scenario.seed,
            "plan": expanded.to_json(),
            "limits": {},
            "environment": {
                "runtime": "docker",
                "lab": session.__version__,
                "host": host,
                **(environment or {}),
            },
            "interrupted": False,
        },
    )
    return folder.path


def kept(folder: Path, *trials: TrialRecord) -> Path:
    """A run's folder with these trials."""
    run = store.RunFolder.create(folder, "healthy")
    run.write("manifest.json", records.manifest(trials, run=run.id))
    for trial in trials:
        file = store.SeriesFile(run.trial(trial.key.folder) / "series.csv")
        for (node, source, metric), points in trial.series.points.items():
            file.append(records.Sample(t, node, source, metric, value) for t, value in points)
        file.close()
        run.write(f"trials/{trial.key.folder}/record.json", trial.to_json())
    return run.path
