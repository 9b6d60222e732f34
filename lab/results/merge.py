"""Joining runs of one scenario, such as the jobs of a CI matrix, into one run with all their trials."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from lab.common.errors import LabError, UsageError
from lab.common.trial_key import TrialKey
from lab.results import store
from lab.results.base import read_json
from lab.results.manifest import (
    AbortedRun,
    Environment,
    HostFacts,
    Manifest,
    PlannedTrial,
    Repeated,
    SourceRun,
)


@dataclass(frozen=True)
class Source:
    """A run to be joined. `scenario` is its resolved scenario as JSON: it is compared, not read."""

    path: Path
    manifest: Manifest
    scenario: Any

    @property
    def id(self) -> str:
        """The run's id."""
        return self.manifest.run

    @property
    def runtime(self) -> str | None:
        """The runtime that it ran on."""
        return self.manifest.environment.runtime if self.manifest.environment else None

    def files(self) -> Mapping[str, str]:
        """Return the files that the scenario names, and sums. Raises UsageError for a name that leads out."""
        for name in self.manifest.files_sha256:
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise UsageError(f"merge: {self.id}: {name!r} leads out of the run's folder")
        return self.manifest.files_sha256


def merge(paths: Sequence[Path], results: Path, argv: Sequence[str]) -> Path:
    """Make a run folder below `results` with the trials of all; return it. Raises UsageError, LabError.

    Runs that measured the same server keep all their trials: those of later runs become further repeats, so
    that each run stays a block of its own. Runs of different scenarios or runtimes are refused.
    """
    sources = [_source(path) for path in paths]
    _alike(sources)
    folder = store.RunFolder.create(results, sources[0].manifest.scenario)
    try:
        _join(sources, folder, argv)
    except BaseException as error:
        shutil.rmtree(folder.path, ignore_errors=True)
        if isinstance(error, OSError):
            raise LabError(f"merge: {error}") from error
        raise
    folder.point_latest()
    return folder.path


def _join(sources: Sequence[Source], folder: store.RunFolder, argv: Sequence[str]) -> None:
    """Fill the folder: all trials, the scenario, and the manifest last. Raises OSError, LabError."""
    trials: list[PlannedTrial] = []
    aborted: list[AbortedRun] = []
    for source in sources:
        shift = _repeats_so_far(source, trials)
        for trial in source.manifest.plan.trials:
            key = _shifted(trial.key, shift)
            _copy(source.path, folder, trial.key, key)
            trials.append(trial.model_copy(update={"id": key.id, "repeat": key.repeat, "source": source.id}))
        _copy_repeated(source, folder, shift)
        if found := source.manifest.aborted:
            key = _shifted(TrialKey.parse(found.trial), shift)
            aborted.append(found.model_copy(update={"trial": key.id, "sources": (source.id,)}))
    for name in ("scenario.yaml", "scenario.resolved.yaml", "scenario.resolved.json", *sources[0].files()):
        (folder.path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(sources[0].path / name, folder.path / name)
    folder.event("runs_merged", run=folder.id, sources=[source.id for source in sources])
    manifest = _manifest(folder.id, sources, trials, argv).replaced(aborted=_aborted(aborted))
    folder.write("plan.json", manifest.plan.to_json())
    folder.write("manifest.json", manifest.to_json())  # the last: a folder without it is not yet a run


def by_scenario(paths: Sequence[Path]) -> list[list[Path]]:
    """Return the runs in groups of one scenario each, in the order in which scenarios first appear."""
    groups: dict[str | None, list[Path]] = {}
    for path in paths:
        groups.setdefault(store.read_manifest(path).scenario_sha256, []).append(path)
    return list(groups.values())


def _aborted(found: Sequence[AbortedRun]) -> AbortedRun | None:
    """How the first run that ended early ended, with the ids of all that did: the others must be complete."""
    sources = tuple(source for one in found for source in one.sources or ())
    return found[0].model_copy(update={"sources": sources}) if found else None


def _source(path: Path) -> Source:
    manifest = store.read_manifest(path)
    try:
        scenario = read_json(path / "scenario.resolved.json")
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
            ("scenario", source.manifest.scenario_sha256, first.manifest.scenario_sha256),
            ("resolved scenario (its --set or environment differ)", source.scenario, first.scenario),
            ("files (a locustfile)", source.files(), first.files()),
            ("runtime", source.runtime, first.runtime),
        ):
            if mine != theirs:
                raise UsageError(f"merge: {source.id} and {first.id} differ in their {what}")


def _repeats_so_far(source: Source, trials: Sequence[PlannedTrial]) -> int:
    """How many repeats of its servers there are already, at the most."""
    groups = {trial.key.group for trial in source.manifest.plan.trials}
    return max((trial.repeat for trial in trials if trial.key.group in groups), default=0)


def _shifted(key: TrialKey, shift: int) -> TrialKey:
    return key._replace(repeat=key.repeat + shift)


def _copy(source: Path, folder: store.RunFolder, old: TrialKey, new: TrialKey) -> None:
    """Copy a trial's folder under its new id; a trial that never came about has none."""
    path = source / store.TRIALS / old.folder
    if path.is_dir():
        _copy_folder(path, folder, f"{store.TRIALS}/{new.folder}", old, new)


def _copy_repeated(source: Source, folder: store.RunFolder, shift: int) -> None:
    """Keep the trials that were set aside, with the reasons, under new ids; a torn reason stays as it is."""
    for path in sorted((source.path / store.REPEATED).glob("*")):
        try:
            told = Repeated.model_validate(read_json(path / f"{store.REPEATED}.json"))
            old = TrialKey.parse(told.trial)
        except (OSError, ValueError):
            shutil.copytree(path, folder.path / store.REPEATED / f"{source.id}.{path.name}")
            continue
        new = _shifted(old, shift)
        name = f"{store.REPEATED}/{new.folder}{path.suffix}"
        _copy_folder(path, folder, name, old, new)
        folder.write(f"{name}/{store.REPEATED}.json", told.replaced(trial=new.id).to_json())


def _copy_folder(path: Path, folder: store.RunFolder, name: str, old: TrialKey, new: TrialKey) -> None:
    """Copy a trial's folder; its record gets the new id. One that is damaged, or another's, does not."""
    shutil.copytree(path, folder.path / name)
    if new == old:
        return
    try:
        record = read_json(path / "record.json")
        its = (record["id"], record["server"], record["repeat"])
    except (OSError, ValueError, TypeError, KeyError):
        return
    if its == (old.id, old.server, old.repeat):
        folder.write(f"{name}/record.json", {**record, "id": new.id, "repeat": new.repeat})


def _manifest(
    run: str, sources: Sequence[Source], trials: Sequence[PlannedTrial], argv: Sequence[str]
) -> Manifest:
    """Return the first run's manifest, with all plans, where each came from and on how many machines."""
    first = sources[0].manifest
    return first.replaced(
        run=run,
        argv=list(argv),
        plan=first.plan.replaced(trials=trials),
        interrupted=any(source.manifest.interrupted for source in sources),
        machines=len({host.fingerprint for source in sources for host in _hosts(source.manifest)}),
        sources=[
            SourceRun(
                run=source.id,
                argv=source.manifest.argv,
                limits=source.manifest.limits,
                environment=source.manifest.environment,
                trials=tuple(trial.id for trial in trials if trial.source == source.id),
            )
            for source in sources
        ],
    )


def _hosts(manifest: Manifest) -> Iterator[HostFacts]:
    """Yield the machine of a run; of a merged run those of each that it was merged of."""
    for one in manifest.sources or (manifest,):
        yield (one.environment or Environment()).host or HostFacts()
