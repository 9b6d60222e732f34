"""The results folder: `results/<UTC>-<scenario>-<id>/`, raw files first, each whole or absent."""

from __future__ import annotations

import csv
import json
import math
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from lab.common.clock import mono_ms, utc_stamp
from lab.common.errors import LabError, UsageError
from lab.common.short import shortened
from lab.common.trial_key import TrialKey
from lab.results.base import describe, read_json
from lab.results.manifest import Manifest, Repeated
from lab.results.record import Damage, Run, Sample, Series, TrialRecord

TRIALS = "trials"
REPEATED = "repeated"


def write_atomically(path: Path, text: str) -> None:
    """Write to a temporary name, flush to disk, rename: a reader sees the old file or the new one.

    Raises LabError when the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        if temporary.parent.is_dir():
            temporary.unlink(missing_ok=True)
        raise LabError(f"{path}: cannot be written: {error.strerror}") from error


def to_json(data: Any) -> str:
    """Stable JSON for files: sorted keys, so that the same data gives the same bytes."""
    return json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False, default=_plain) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not plain data")


# A run's id names containers: at most 63 characters, of which the time stamp takes 17 and the number 5.
NAME_LENGTH = 63 - 17 - 5


class RunFolder:
    """One run's folder while it is being written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, results: Path, scenario: str) -> RunFolder:
        """Make a new folder. Raises LabError where it cannot."""
        path = results / f"{utc_stamp()}-{shortened(scenario, NAME_LENGTH)}-{secrets.token_hex(2)}"
        try:
            (path / TRIALS).mkdir(parents=True)
        except OSError as error:
            raise LabError(f"{path}: cannot be made: {error.strerror}") from error
        return cls(path)

    @property
    def id(self) -> str:
        """The run's id: its folder's name."""
        return self.path.name

    def trial(self, folder: str) -> Path:
        """Return the folder of one trial, made if need be."""
        path = self.path / TRIALS / folder
        try:
            path.mkdir(exist_ok=True)
        except OSError as error:
            raise LabError(f"{path}: cannot be made: {error.strerror}") from error
        return path

    def set_aside(self, folder: str, trial_id: str, why: str) -> None:
        """Keep a trial's folder out of what counts, below repeated/, with the reason. Raises LabError."""
        taken = len(list(self.path.glob(f"{REPEATED}/{folder}.*")))
        self.write(f"{TRIALS}/{folder}/{REPEATED}.json", {"trial": trial_id, "says": why})
        try:
            (self.path / REPEATED).mkdir(exist_ok=True)
            (self.path / TRIALS / folder).rename(self.path / REPEATED / f"{folder}.{taken + 1}")
        except OSError as error:
            raise LabError(f"{self.path / REPEATED}: cannot be written: {error.strerror}") from error
        self.event("trial_repeated", trial=trial_id, reason=why)

    def write(self, name: str, data: Any) -> None:
        """Write one file: text as it is, other data as JSON."""
        write_atomically(self.path / name, data if isinstance(data, str) else to_json(data))

    def event(self, what: str, **facts: Any) -> None:
        """Append a line to events.jsonl."""
        line = json.dumps({"mono_ms": mono_ms(), "event": what, **facts}, ensure_ascii=False)
        with (self.path / "events.jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def point_latest(self) -> None:
        """Let `results/latest` point here."""
        link, temporary = self.path.parent / "latest", self.path.parent / f".latest.{os.getpid()}"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(self.path.name)
        temporary.replace(link)


class SeriesFile:
    """series.csv, written as samples come in: a run that is killed keeps all but the last line."""

    def __init__(self, path: Path) -> None:
        self._file: TextIO = path.open("w", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file)
        self._writer.writerow(Sample._fields)

    def append(self, samples: Iterable[Sample]) -> None:
        """Add rows and hand them to the kernel."""
        self._writer.writerows(
            (f"{s.mono_ms:.3f}", s.node, s.source, s.metric, f"{s.value:.10g}") for s in samples
        )
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_series(path: Path) -> tuple[Series, int]:
    """series.csv as Series, and how many torn or foreign rows were ignored."""
    samples, ignored = [], 0
    if not path.exists():
        return Series(), 0
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        rows = csv.reader(file)
        next(rows, None)
        while True:
            try:
                samples.append(_sample(next(rows)))
            except StopIteration:
                return Series.of(samples), ignored
            except (ValueError, csv.Error):  # csv.Error: a field of more than 128 KiB
                ignored += 1


def _sample(row: list[str]) -> Sample:
    """One row of series.csv. Raises ValueError."""
    mono, node, source, metric, value = row
    sample = Sample(float(mono), node, source, metric, float(value))
    if not (math.isfinite(sample.mono_ms) and math.isfinite(sample.value)):
        raise ValueError(f"{metric}: no finite number")
    return sample


def find(results: Path, name: str) -> Path:
    """Find a run by path, id, unique prefix, `latest` or `latest~N`. Raises UsageError with what is there."""
    direct = Path(name)
    if (direct / "manifest.json").exists():
        return direct.resolve()
    if direct.is_file():
        raise UsageError(f"{name} is no run: a run is a folder with a manifest.json, or a bundle (.tar.gz)")
    runs = list_runs(results)
    if not runs:
        raise UsageError(f"no runs in {results}: make one with `lab run SCENARIO`")
    word, tilde, back = name.partition("~")
    if word == "latest":
        if tilde and not back.isdigit():
            raise UsageError(f"{name!r}: write latest~1 for the run before the last")
        index = int(back or 0)
        if index >= len(runs):
            there = f"there are only {len(runs)} runs" if len(runs) > 1 else "there is only one run"
            raise UsageError(f"{name!r}: {there} in {results}")
        return runs[-1 - index]
    hits = [run for run in runs if run.name.startswith(name)]
    if len(hits) == 1:
        return hits[0]
    if hits:
        raise UsageError(f"{name!r} could be {', '.join(h.name for h in hits[:4])}: give more of it")
    raise UsageError(f"no run {name!r} in {results}; the newest is {runs[-1].name}")


def list_runs(results: Path) -> list[Path]:
    """All run folders, oldest first."""
    if not results.is_dir():
        return []
    return sorted(path.parent for path in results.glob("*/manifest.json") if not path.parent.is_symlink())


def list_folders(results: Path) -> list[Path]:
    """All run folders, oldest first, with those that have lost their manifest."""
    if not results.is_dir():
        return []
    folders = (path for path in results.iterdir() if path.is_dir() and not path.is_symlink())
    return sorted(p for p in folders if (p / "manifest.json").exists() or (p / TRIALS).is_dir())


def read_manifest(path: Path) -> Manifest:
    """Return the manifest of the run in `path`. Raises UsageError for what is no run."""
    try:
        return Manifest.model_validate(read_json(path / "manifest.json"))
    except (OSError, ValueError) as error:
        says = f"{path}: not a run: manifest.json cannot be read ({describe(error)})"
        raise UsageError(says) from error


def read_run(path: Path) -> Run:
    """All records of a run. A damaged one is left out and named in `damaged`, never fatal.

    Raises UsageError for what is no run.
    """
    manifest = read_manifest(path)
    damaged: list[Damage] = []
    trials: list[TrialRecord] = []
    for file in sorted((path / TRIALS).glob("*/record.json")):
        name = _trial_id(file.parent)
        try:
            record, torn_rows = read_trial(file.parent)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            damaged.append(Damage(name, f"its record cannot be read and is left out: {describe(error)}"))
            continue
        trials.append(record)
        if torn_rows:
            damaged.append(Damage(name, _left_out(torn_rows), lost=False))
    order = {trial.id: place for place, trial in enumerate(manifest.plan.trials)}
    trials.sort(key=lambda trial: order.get(trial.id, len(order)))
    return Run(manifest, tuple(trials), tuple(damaged), tuple(_repeated(path)))


def _left_out(rows: int) -> str:
    return f"series.csv: {rows:,} damaged {'row is' if rows == 1 else 'rows are'} left out"


def read_trial(folder: Path) -> tuple[TrialRecord, int]:
    """Return the record of the trial in `folder`, and how many torn rows its series had."""
    series, torn_rows = read_series(folder / "series.csv")
    return TrialRecord.from_json(read_json(folder / "record.json"), series), torn_rows


def _trial_id(folder: Path) -> str:
    """Return the id of a trial by its folder; a folder that somebody else named keeps its name."""
    try:
        return TrialKey.of_folder(folder.name).id
    except ValueError:
        return folder.name


def _repeated(path: Path) -> Iterator[Repeated]:
    """Yield the trials that were set aside and measured again, each with the reason."""
    for file in sorted((path / REPEATED).glob(f"*/{REPEATED}.json")):
        try:
            yield Repeated.model_validate(read_json(file))
        except (OSError, ValueError) as error:
            yield Repeated(trial=file.parent.name, says=f"the reason cannot be read: {describe(error)}")
