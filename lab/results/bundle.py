"""A run as one archive that another team can report from and run again. The same run gives the same bytes."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath

from lab.common.errors import LabError, UsageError
from lab.results import store

SUMS = "SHA256SUMS"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
MOST_BYTES = 4 << 30


def pack(run: Path, archive: Path) -> int:
    """Write the run's folder to `archive`, a .tar.gz; returns its size in bytes.

    Raises LabError, UsageError for what is no run.
    Names sorted, no times, no owners; SHA256SUMS inside is what sha256sum(1) checks.
    """
    store.read_manifest(run)
    files = sorted(path for path in run.rglob("*") if path.is_file() and not _passing(path, run))
    sums = "".join(f"{_digest(path)}  {path.relative_to(run)}\n" for path in files).encode()
    temporary = archive.with_name(f".{archive.name}.tmp")
    try:
        with (
            temporary.open("wb") as raw,
            gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as zipped,
            tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            tar.addfile(_member(f"{run.name}/{SUMS}", len(sums)), io.BytesIO(sums))
            for path in files:
                with path.open("rb") as file:
                    name = f"{run.name}/{path.relative_to(run)}"
                    tar.addfile(_member(name, path.stat().st_size), file)
        temporary.replace(archive)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise LabError(f"{archive}: cannot be written: {error.strerror}") from error
    return archive.stat().st_size


def unpack(archive: Path, results: Path) -> Path:
    """Unpack a bundle below `results` and check its sums; returns the run's folder. Raises UsageError.

    A run that is there already with the same sums is taken as it is.
    """
    temporary = results / f".{archive.name}.unpacking"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        name = _extract(archive, temporary)
        _check(temporary / name, archive)
        run = results / name
        if not run.exists():
            (temporary / name).rename(run)
        elif not _same(run / SUMS, temporary / name / SUMS):
            raise UsageError(f"{archive}: {run} is there already and is another run: move it away first")
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return run


def _extract(archive: Path, target: Path) -> str:
    """Return the one folder that the archive holds: plain files only, and none outside of it."""
    try:
        with tarfile.open(archive, "r:gz") as tar:
            members = tar.getmembers()
            name = _run_name(archive, [PurePosixPath(member.name) for member in members])
            if sum(member.size for member in members) > MOST_BYTES:
                raise UsageError(f"{archive}: more than {MOST_BYTES >> 30} GiB once unpacked")
            for member in members:
                content = tar.extractfile(member) if member.isreg() else None
                if content is None:
                    raise UsageError(f"{archive}: not a bundle: {member.name} is no plain file")
                path = target / member.name
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("wb") as file:
                    shutil.copyfileobj(content, file)
    except FileNotFoundError:
        raise UsageError(f"{archive}: no such file") from None
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise UsageError(f"{archive}: cannot be unpacked: {error}") from error
    return name


def _run_name(archive: Path, paths: list[PurePosixPath]) -> str:
    tops = {path.parts[0] for path in paths if path.parts}
    if len(tops) != 1 or not NAME.fullmatch(name := tops.pop()):
        raise UsageError(f"{archive}: not a bundle: it must hold one run's folder")
    for path in paths:
        if ".." in path.parts or path.is_absolute() or len(path.parts) < 2:
            raise UsageError(f"{archive}: not a bundle: it names {path}")
    return name


def _check(run: Path, archive: Path) -> None:
    try:
        lines = (run / SUMS).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise UsageError(f"{archive}: not a bundle: it has no {SUMS}") from None
    listed = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    found = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()} - {SUMS}
    for name in sorted(found ^ set(listed)):
        raise UsageError(f"{archive}: {name} is {'missing' if name in listed else 'not listed'}: damaged?")
    for name, digest in listed.items():
        if _digest(run / name) != digest:
            raise UsageError(f"{archive}: {name} is not what was packed: damaged?")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _same(one: Path, other: Path) -> bool:
    return one.exists() and one.read_bytes() == other.read_bytes()


def _passing(path: Path, run: Path) -> bool:
    """Temporary files of a writer, and the sums of an earlier unpacking."""
    return path.name.startswith(".") or path == run / SUMS


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = size, 0o644, 0
    return member
