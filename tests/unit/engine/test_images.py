"""How images come about, as far as it needs no engine: tags, contexts, command lines, requirement files."""

from __future__ import annotations

import importlib.util
import io
import os
import py_compile
import re
import struct
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from lab.common.errors import HostCannot, LabError, NoMeasurement, UsageError
from lab.engine import images
from lab.engine.build import base, context, wheels
from lab.engine.images import IMAGES, ROOT

REQUIREMENTS = sorted((ROOT / "requirements").glob("*.txt"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small checkout."""
    for name, text in {
        "images/base/packages.txt": "a\n",
        "images/wire/echo.py": "x = 1\n",
        "images/server/Dockerfile": "FROM x\n",
        "images/server/manifest.toml": "x = 1\n",
        "images/server/iomodels/poll.py": "y = 2\n",
        "images/nettools/Dockerfile": "FROM x\n",
        "images/nettools/tc.py": "z = 3\n",
        "requirements/server.txt": "u==1\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "tags"),
    [
        ("images/server/iomodels/poll.py", {"server"}),
        ("images/server/Dockerfile", {"server"}),
        ("images/wire/echo.py", {"server"}),
        ("requirements/server.txt", {"server"}),
        ("images/nettools/tc.py", {"nettools"}),
        ("images/base/packages.txt", {"server", "nettools", "base"}),
    ],
)
def test_a_tag_changes_with_what_its_image_is_made_of(root: Path, changed: str, tags: set[str]) -> None:
    def all_tags() -> dict[str, str]:
        return {name: images.tag(name, "x86_64", root) for name in ("base", "server", "nettools")}

    before = all_tags()
    assert all_tags() == before
    (root / changed).write_text("changed\n")
    after = all_tags()
    assert {name for name in before if before[name] != after[name]} == tags


def test_a_tag_changes_with_a_files_name_and_with_the_machine_but_not_with_its_time(root: Path) -> None:
    before = images.tag("nettools", "x86_64", root)
    os.utime(root / "images/nettools/tc.py", (1, 1))
    (root / "images/nettools/__pycache__").mkdir()
    (root / "images/nettools/__pycache__/tc.cpython-311.pyc").write_text("")
    assert images.tag("nettools", "x86_64", root) == before
    assert images.tag("nettools", "aarch64", root) != before
    (root / "images/nettools/tc.py").rename(root / "images/nettools/td.py")
    assert images.tag("nettools", "x86_64", root) != before


def test_an_unknown_image_is_named_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="no image 'sever'; there are: server, swarm, nettools"):
        images.tag("sever", "x86_64")


def test_every_image_has_its_sources_and_its_dockerfile() -> None:
    for name, image in IMAGES.items():
        dockerfile = (ROOT / "images" / name / "Dockerfile").read_text()
        assert dockerfile.count("FROM") == 1
        assert "RUN" not in dockerfile  # COPY-only: nothing is compiled or fetched in them
        for part in image.parts:
            assert (ROOT / "images" / part).exists()
            assert f"COPY {part} " in dockerfile
        assert ("COPY wheels " in dockerfile) == (image.requirements is not None)


def test_a_packed_context_is_the_same_whoever_owns_it_and_whenever_it_changed(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub/file.py").write_text("x = 1\n")
        (tmp_path / name / "run").write_text("#!/bin/sh\n")
        (tmp_path / name / "run").chmod(0o755)
    os.utime(tmp_path / "two/run", (1, 1))
    one, two = (context.pack_tar(tmp_path / name) for name in ("one", "two"))
    assert one == two
    with tarfile.open(fileobj=io.BytesIO(one)) as tar:
        found = {entry.name: (entry.mode, entry.uid, entry.mtime) for entry in tar}
    assert found == {"run": (0o755, 0, 0), "sub/file.py": (0o644, 0, 0)}


def test_compiled_files_are_the_images_and_are_never_checked(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("x = 1\n")
    said: list[str] = []
    context.compile_all(tmp_path, said.append)
    if said:
        pytest.skip(said[0])
    (compiled,) = (tmp_path / "__pycache__").glob("*.pyc")
    magic, flags = struct.unpack("<4sI", compiled.read_bytes()[:8])
    assert magic == context.IMAGE_MAGIC
    assert flags == 0b01  # PEP 552: by hash, and not to be checked


def test_the_images_magic_number_is_that_of_its_python() -> None:
    if sys.version_info[:2] != (3, 11):
        pytest.skip("only a Python 3.11 knows")
    assert importlib.util.MAGIC_NUMBER == context.IMAGE_MAGIC


def test_another_python_compiles_nothing_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "IMAGE_MAGIC", b"none")
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "one.py").write_text("x = 1\n")
    said: list[str] = []
    context.compile_all(tmp_path, said.append)
    assert said == ["no Python 3.11 on this host: nothing is compiled, and nodes start more slowly"]
    assert list(tmp_path.glob("**/*.pyc")) == []


def test_a_file_that_does_not_compile_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("def\n")
    with pytest.raises(py_compile.PyCompileError):
        py_compile.compile(str(tmp_path / "bad.py"), doraise=True)
    with pytest.raises(LabError, match="SyntaxError"):
        context.compile_all(tmp_path, print)


def test_wheels_are_laid_out_by_hash_for_the_images_python(tmp_path: Path) -> None:
    argv = wheels.pip_argv(Path("swarm.txt"), tmp_path, "x86_64")
    assert {"--require-hashes", "--no-deps", "--only-binary=:all:"} <= set(argv)
    assert argv[argv.index("--python-version") + 1] == "3.11"
    assert "manylinux_2_17_x86_64" in argv
    assert not any("://" in word for word in argv)


def test_wheels_that_cannot_be_had_are_explained(tmp_path: Path) -> None:
    requirements = tmp_path / "none.txt"
    requirements.write_text("no-such-thing-at-all==1 --hash=sha256:" + "0" * 64 + "\n")
    with pytest.raises(HostCannot, match=r"pip could not install none\.txt: .*; its log: "):
        wheels.install_wheels(requirements, "x86_64", tmp_path, print)
    assert not list(tmp_path.glob("wheels-none-*"))


def test_the_base_is_bootstrapped_from_the_same_list_as_from_a_registry() -> None:
    names = base.packages(ROOT / "images/base/packages.txt")
    assert {"python3-minimal", "iproute2", "iptables"} <= set(names)
    argv = base.bootstrap_argv(names, Path("out.tar"))
    assert f"--include={','.join(names)}" in argv
    assert argv[-2:] == ["bookworm", "out.tar"]
    assert "packages.txt" in (ROOT / "images/base/Dockerfile.registry").read_text()


class RegistryEngine:
    """An engine whose registry does not answer; it counts how often it was asked."""

    asked = 0
    api: RegistryEngine

    def __init__(self) -> None:
        self.api = self

    def inspect_distribution(self, image: str) -> None:
        self.asked += 1
        raise NoMeasurement("no such host")

    def call(self, what: str, function: object, *args: object, **more: object) -> object:
        assert callable(function)
        return function(*args)


def test_a_registry_that_does_not_answer_is_left_in_peace_for_an_hour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))  # no mmdebstrap
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    engine = RegistryEngine()
    for _ in range(2):
        with pytest.raises(
            HostCannot, match="no registry answers for debian:bookworm-slim, and mmdebstrap needs root"
        ):
            base.make(engine, tmp_path, "tag", tmp_path, print)  # type: ignore[arg-type]
    assert engine.asked == 1
    os.utime(tmp_path / "registry-failed", (0, 0))
    with pytest.raises(HostCannot):
        base.make(engine, tmp_path, "tag", tmp_path, print)  # type: ignore[arg-type]
    assert engine.asked == 2


@pytest.mark.parametrize("file", REQUIREMENTS, ids=lambda file: file.name)
def test_requirements_are_pinned_by_hash_and_name_no_index(file: Path) -> None:
    text = file.read_text()
    assert not re.search(r"://|--index-url|--extra-index|--find-links|--trusted", text)
    entries = [entry for entry in re.split(r"\n(?=\S)", text) if entry and not entry.startswith("#")]
    assert entries
    for entry in entries:
        assert re.match(r"[a-z0-9.-]+==\S+", entry), entry.splitlines()[0]
        assert "--hash=sha256:" in entry


@pytest.mark.parametrize("name", ["server.txt", "swarm.txt"])
def test_the_images_requirements_do_not_depend_on_the_hosts_python(name: str) -> None:
    assert "python_full_version" not in (ROOT / "requirements" / name).read_text()


def test_all_requirement_files_agree() -> None:
    versions: dict[str, set[str]] = {}
    for file in REQUIREMENTS:
        for name, version in re.findall(r"^([a-z0-9.-]+)==(\S+)", file.read_text(), re.MULTILINE):
            versions.setdefault(name, set()).add(version)
    differing = {name for name, found in versions.items() if len(found) > 1}
    assert differing <= {"numpy", "scipy"}  # one version for each Python, in every file alike


def test_make_help_names_every_target() -> None:
    done = subprocess.run(
        ["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, timeout=10, check=True
    )
    shown = re.findall(r"^  make (\S+) ", done.stdout, re.MULTILINE)
    assert {"help", "lab", "test", "check", "bench", "soak", "images", "doctor", "down"} <= set(shown)
