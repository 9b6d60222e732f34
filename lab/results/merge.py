"""Joining runs of one scenario, such as the jobs of a CI matrix, into one run with all their trials."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from lab.common.errors import UsageError
from lab.common.trial_key import TrialKey
from lab.results import store

# What of a host makes its figures comparable with another's.
FINGERPRINT = ("machine", "cpu_model", "cpus", "memory_bytes", "kernel")


@dataclass(frozen=True)
class Source:
    """A run to be joined."""

    path: Path
    manifest: Mapping[str, Any]
    scenario: Mapping[str, Any]

    @property
    def id(self) -> str:
        """The run's id."""
        return str(self.manifest["run"])

    @property
    def trials(self) -> Sequence[Mapping[str, Any]]:
        """The trials it planned, in order."""
        planned: Sequence[Mapping[str, Any]] = self.manifest["plan"]["trials"]
        return planned


def merge(paths: Sequence[Path], results: Path, argv: Sequence[str]) -> Path:
    """A new run folder below `results` with the trials of all; returns it. Raises UsageError, LabError.

    Runs that measured the same server keep all their trials: those of later runs become further repeats, so
    that each run stays a block of its own. Runs of different scenarios or runtimes are refused.
    """
    sources = [_source(path) for path in paths]
    _alike(sources)
    taken: dict[str, int] = {}
    trials: list[dict[str, Any]] = []
    aborted: dict[str, dict[str, Any]] = {}
    folder = store.RunFolder.create(results, str(sources[0].manifest["scenario"]))
    for source in sources:
        shift = max((taken.get(_group(trial), 0) for trial in source.trials), default=0)
        for trial in source.trials:
            renamed = _renumbered(trial, shift)
            _copy(source.path, folder, str(trial["id"]), renamed)
            trials.append({**renamed, "source": source.id})
            group = _group(trial)
            taken[group] = max(taken.get(group, 0), renamed["repeat"])
        _copy_repeated(source, folder, shift)
        if found := source.manifest.get("aborted"):
            aborted[source.id] = {**found, "trial": _renumbered({"id": found["trial"]}, shift)["id"]}
    named = _files(sources[0])
    for name in ("scenario.yaml", "scenario.resolved.yaml", "scenario.resolved.json", *named):
        (folder.path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(sources[0].path / name, folder.path / name)
    folder.event("runs_merged", run=folder.id, sources=[source.id for source in sources])
    manifest = _manifest(folder.id, sources, trials, argv) | {"aborted": _aborted(aborted)}
    folder.write("plan.json", manifest["plan"])
    folder.write("manifest.json", manifest)  # the last: a folder without it is not yet a run
    folder.point_latest()
    return folder.path


def by_scenario(paths: Sequence[Path]) -> list[list[Path]]:
    """The runs in groups of one scenario each, in the order in which scenarios first appear."""
    groups: dict[str, list[Path]] = {}
    for path in paths:
        groups.setdefault(str(_source(path).manifest["scenario_sha256"]), []).append(path)
    return list(groups.values())


def _aborted(found: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """How the first run that ended early ended, with the ids of all that did: the others must be complete."""
    return {**next(iter(found.values())), "sources": list(found)} if found else None


def _source(path: Path) -> Source:
    try:
        manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
        scenario = json.loads((path / "scenario.resolved.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: not a run that can be merged: {error}") from error
    return Source(path, manifest, scenario)


def _alike(sources: Sequence[Source]) -> None:
    first = sources[0]
    seen: set[str] = set()
    for source in sources:
        if source.id in seen:
            raise UsageError(f"merge: {source.id} is given twice")
        seen.add(source.id)
        for what, mine, theirs in (
            ("scenario", source.manifest["scenario_sha256"], first.manifest["scenario_sha256"]),
            ("resolved scenario (its --set or environment differ)", source.scenario, first.scenario),
            ("files (a locustfile)", _files(source), _files(first)),
            ("runtime", _runtime(source), _runtime(first)),
        ):
            if mine != theirs:
                raise UsageError(f"merge: {source.id} and {first.id} differ in their {what}")


def _files(source: Source) -> dict[str, str]:
    """The files that the scenario names, with their sums. Raises UsageError for a name that leads out."""
    found: dict[str, str] = dict(source.manifest.get("files_sha256", {}))
    for name in found:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise UsageError(f"merge: {source.id}: {name!r} leads out of the run's folder")
    return found


def _runtime(source: Source) -> Any:
    return source.manifest["environment"]["runtime"]


def _group(trial: Mapping[str, Any]) -> str:
    return TrialKey.parse(trial["id"]).group


def _renumbered(trial: Mapping[str, Any], shift: int) -> dict[str, Any]:
    key = TrialKey.parse(trial["id"])
    renamed = key._replace(repeat=key.repeat + shift)
    return {**trial, "id": renamed.id, "repeat": renamed.repeat}


def _copy(source: Path, folder: store.RunFolder, id_: str, renamed: Mapping[str, Any]) -> None:
    """A trial's folder under its new id; a trial that never came about has none."""
    old = source / store.TRIALS / TrialKey.parse(id_).folder
    if old.is_dir():
        _copy_folder(old, folder, f"{store.TRIALS}/{TrialKey.parse(renamed['id']).folder}", id_, renamed)


def _copy_repeated(source: Source, folder: store.RunFolder, shift: int) -> None:
    """The trials that were set aside, with the reasons, under new ids; one with a torn reason as it is."""
    for old in sorted((source.path / store.REPEATED).glob("*")):
        try:
            told = json.loads((old / f"{store.REPEATED}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            shutil.copytree(old, folder.path / store.REPEATED / f"{source.id}.{old.name}")
            continue
        renamed = _renumbered({"id": told["trial"]}, shift)
        name = f"{store.REPEATED}/{TrialKey.parse(renamed['id']).folder}{old.suffix}"
        _copy_folder(old, folder, name, told["trial"], renamed)
        folder.write(f"{name}/{store.REPEATED}.json", {**told, "trial": renamed["id"]})


def _copy_folder(old: Path, folder: store.RunFolder, name: str, id_: str, renamed: Mapping[str, Any]) -> None:
    shutil.copytree(old, folder.path / name)
    if renamed["id"] != id_ and (old / "record.json").exists():
        record = json.loads((old / "record.json").read_text(encoding="utf-8"))
        changed = {**record, "id": renamed["id"], "repeat": renamed["repeat"]}
        folder.write(f"{name}/record.json", changed)


def _manifest(
    run: str, sources: Sequence[Source], trials: list[dict[str, Any]], argv: Sequence[str]
) -> dict[str, Any]:
    """The first run's manifest, with the plan of all, where each came from and on how many machines."""
    first = sources[0].manifest
    return {
        **first,
        "run": run,
        "argv": list(argv),
        "plan": {**first["plan"], "trials": trials},
        "interrupted": any(bool(source.manifest.get("interrupted")) for source in sources),
        "machines": len({one for source in sources for one in _fingerprints(source.manifest)}),
        "sources": [
            {
                **{key: source.manifest.get(key) for key in ("run", "argv", "limits", "environment")},
                "trials": [trial["id"] for trial in trials if trial["source"] == source.id],
            }
            for source in sources
        ],
    }


def _fingerprints(manifest: Mapping[str, Any]) -> Iterator[str]:
    """One for each machine that a run, or each of those it was merged of, was measured on."""
    for one in manifest.get("sources") or (manifest,):
        host = one["environment"]["host"]
        yield json.dumps([host.get(key) for key in FINGERPRINT])
