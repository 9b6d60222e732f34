"""The set-up scripts say what is wrong in one line, and never wait for an answer."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from lab.common.paths import ROOT


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """As much of a checkout as the scripts need."""
    for name in ("requirements/install", "tests/install-packages", "tests/packages.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def program(folder: Path, name: str, text: str) -> Path:
    """A stand-in for a program, first in PATH."""
    (folder / "bin").mkdir(exist_ok=True)
    file = folder / "bin" / name
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return file


def run(folder: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        argv,
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_python_that_is_too_old_is_named(checkout: Path) -> None:
    old = program(checkout, "python-old", "exit 1")
    done = run(checkout, "requirements/install", str(old), ".venv", "requirements/host.txt")
    assert done.returncode == 1
    assert done.stderr.startswith(f"Python 3.11 or newer is needed, {old} is not: set PYTHON=")
    assert not (checkout / ".venv").exists()


def test_a_python_without_venv_names_the_package_to_install(checkout: Path) -> None:
    bare = program(
        checkout, "python-bare", 'case "$*" in *-m*venv*) exit 1;; *print*) echo python3.11-venv;; esac'
    )
    program(checkout, "id", "echo 1000")
    done = run(checkout, "requirements/install", str(bare), ".venv", "requirements/host.txt")
    assert done.returncode == 1
    assert "on Debian, as root: apt-get install python3.11-venv" in done.stderr


def test_what_pip_says_is_shown_when_it_fails_and_only_then(checkout: Path) -> None:
    pip = 'echo "a lot of noise"; case "$*" in *host.txt*) echo "the reason"; exit 1;; esac'
    venv = f"mkdir -p .venv/bin; printf \"#!/bin/sh\\n%s\\n\" '{pip}' > .venv/bin/pip; chmod +x .venv/bin/pip"
    python = program(checkout, "python-good", f'case "$*" in *-m*venv*) {venv};; esac')
    done = run(checkout, "requirements/install", str(python), ".venv", "requirements/host.txt")
    assert done.returncode == 1
    assert "pip failed" in done.stderr
    assert "the reason" in done.stderr
    done = run(checkout, "requirements/install", str(python), ".venv", "requirements/dev.txt")
    assert (done.returncode, done.stdout, done.stderr) == (0, "installing dev.txt\n", "")


def test_missing_packages_are_named_where_they_may_not_be_installed(checkout: Path) -> None:
    program(checkout, "id", "echo 1000")
    program(checkout, "dpkg-query", 'case "$*" in *kmod) printf installed;; *) exit 1;; esac')
    done = run(checkout, "tests/install-packages")
    assert done.returncode == 0
    assert "docker.io" in done.stdout
    assert "kmod" not in done.stdout
    assert "some tests are skipped" in done.stdout


def test_one_package_that_is_not_to_be_had_does_not_keep_out_the_others(checkout: Path) -> None:
    program(checkout, "id", "echo 0")
    program(checkout, "dpkg-query", "exit 1")
    program(checkout, "apt-get", 'case "$*" in *chromium*) exit 100;; esac; echo "$*" >> asked')
    done = run(checkout, "tests/install-packages")
    assert done.returncode == 0
    assert "apt-get cannot install chromium: some tests are skipped" in done.stdout
    assert "docker.io" in (checkout / "asked").read_text()


def test_nothing_is_said_where_nothing_is_missing(checkout: Path) -> None:
    program(checkout, "dpkg-query", "printf installed")
    done = run(checkout, "tests/install-packages")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
