"""Bundles: the same run gives the same bytes, comes out as it went in, and nothing foreign comes out."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile

import pytest

from lab.common.errors import LabError, UsageError
from lab.results import bundle, store
from tests.support.runfolders import make_run


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def packed(tmp_path, members):
    archive = tmp_path / "made.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for member, data in members:
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return archive


def test_the_same_run_gives_the_same_bytes_whatever_its_times_and_place(tmp_path):
    run = make_run(tmp_path / "here")
    first, second = tmp_path / "first.tar.gz", tmp_path / "second.tar.gz"
    size = bundle.pack(run, first)
    for path in run.rglob("*"):
        os.utime(path, (1, 1))
    (tmp_path / "there").mkdir()
    bundle.pack(run.rename(tmp_path / "there" / run.name), second)
    assert size == first.stat().st_size > 500
    assert first.read_bytes() == second.read_bytes()


def test_it_comes_out_as_it_went_in_and_is_a_run(tmp_path):
    run = make_run(tmp_path / "here")
    archive = tmp_path / "run.tar.gz"
    bundle.pack(run, archive)
    out = bundle.unpack(archive, tmp_path / "there")
    assert out == tmp_path / "there" / run.name
    assert {name: data for name, data in files(out).items() if name != bundle.SUMS} == files(run)
    assert len(store.read_run(out).trials) == 2
    subprocess.run(["sha256sum", "--check", "--quiet", bundle.SUMS], cwd=out, check=True, timeout=20)


def test_unpacking_it_again_changes_nothing_and_packing_it_again_gives_the_same(tmp_path):
    run = make_run(tmp_path / "here")
    archive, again = tmp_path / "run.tar.gz", tmp_path / "again.tar.gz"
    bundle.pack(run, archive)
    out = bundle.unpack(archive, tmp_path / "there")
    assert bundle.unpack(archive, tmp_path / "there") == out
    bundle.pack(out, again)
    assert again.read_bytes() == archive.read_bytes()
    assert [path.name for path in (tmp_path / "there").iterdir()] == [run.name]


def test_another_run_of_that_name_is_not_overwritten(tmp_path):
    run = make_run(tmp_path / "here")
    archive = tmp_path / "run.tar.gz"
    bundle.pack(run, archive)
    with pytest.raises(UsageError, match="is there already"):
        bundle.unpack(archive, tmp_path / "here")
    assert (run / "manifest.json").exists()


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "run/../../evil", "run", ".hidden/file"])
def test_nothing_outside_of_one_run_folder_comes_out(name, tmp_path):
    archive = packed(tmp_path, [(tarfile.TarInfo(name), b"x")])
    with pytest.raises(UsageError, match="not a bundle"):
        bundle.unpack(archive, tmp_path / "results")
    assert not list(tmp_path.rglob("evil"))


def test_links_and_devices_are_refused(tmp_path):
    link = tarfile.TarInfo("run/link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with pytest.raises(UsageError, match="no plain file"):
        bundle.unpack(packed(tmp_path, [(link, b"")]), tmp_path / "results")


def test_damage_is_seen(tmp_path):
    run = make_run(tmp_path / "here")
    archive = tmp_path / "run.tar.gz"
    bundle.pack(run, archive)
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UsageError, match="cannot be unpacked"):
        bundle.unpack(archive, tmp_path / "there")
    sums = b"0" * 64 + b"  manifest.json\n"
    members = [(tarfile.TarInfo("run/SHA256SUMS"), sums), (tarfile.TarInfo("run/manifest.json"), b"{}")]
    with pytest.raises(UsageError, match="not what was packed"):
        bundle.unpack(packed(tmp_path, members), tmp_path / "there")
    members.append((tarfile.TarInfo("run/more"), b"x"))
    with pytest.raises(UsageError, match="more is not listed"):
        bundle.unpack(packed(tmp_path, members), tmp_path / "there")
    with pytest.raises(UsageError, match="no such file"):
        bundle.unpack(tmp_path / "absent.tar.gz", tmp_path / "there")
    assert not list((tmp_path / "there").iterdir())


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path):
    with pytest.raises(LabError, match="cannot be written"):
        bundle.pack(make_run(tmp_path / "here"), tmp_path / "absent" / "run.tar.gz")
