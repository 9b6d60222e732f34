"""Runs within user-mode Linux: an engine of its own that has the lab's images, then one `lab run`.

usage: python -m tests.support.uml_lab_inside IMAGES SCENARIO RESULTS

IMAGES is a folder made by tests/support/uml_engine_images.py. Ends with the exit code of the run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from lab.engine import connect
from lab.engine.dockerd import Daemon

# No init system has mounted them. This kernel is for one CPU, and knows no cpuset.
CONTROLLERS = ("cpu", "cpuacct", "memory", "pids", "freezer", "devices", "blkio")
DATA = Path("/run/docker-data")
STATE = Path("/run/lab")
# No network here has a way out, so the engine needs no rules of its own.
ENGINE = ("--iptables=false", "--ip6tables=false", "--bridge=none", f"--data-root={DATA}")


def main() -> int:
    """Exit code of `lab run`."""
    images, scenario, results = sys.argv[1:]
    mount_controllers()
    prefer_legacy_iptables()
    lay_in(Path(images))
    STATE.mkdir()
    os.environ["LAB_STATE_DIR"] = str(STATE)
    connect.ensure(say, Daemon(STATE, arguments=ENGINE)).close()
    command = [sys.executable, "-m", "lab.cli", "run", scenario, "--runtime", "docker", "--results", results]
    code = subprocess.run([*command, "--no-calibration", "--no-repeats"], check=False).returncode
    say(f"the run ended with exit code {code}")
    return code


def say(text: str) -> None:
    """For whoever looks at a run that went wrong."""
    print(f"{time.monotonic():5.1f} s since boot: {text}", flush=True)


def mount_controllers() -> None:
    """cgroup v1, a folder for each controller: cgroups(7)."""
    root = Path("/sys/fs/cgroup")
    subprocess.run(["mount", "-t", "tmpfs", "cgroup", root], check=True)
    for name in CONTROLLERS:
        (root / name).mkdir()
        subprocess.run(["mount", "-t", "cgroup", "-o", name, "cgroup", root / name], check=True)


def prefer_legacy_iptables() -> None:
    """The engine makes names resolve by rules within each container: by modules that this kernel has."""
    folder = Path("/run/legacy")
    folder.mkdir()
    for name in ("iptables", "ip6tables"):
        (folder / name).symlink_to(f"/usr/sbin/{name}-legacy")
    os.environ["PATH"] = f"{folder}:{os.environ['PATH']}"


def lay_in(images: Path) -> None:
    """The engine's data root with the images in it."""
    shutil.copytree(images / "data", DATA, symlinks=True)
    # The engine binds these to themselves unless they are mounts: what is mounted below would then be hidden.
    for folder in (DATA, DATA / "overlay2"):
        subprocess.run(["mount", "--bind", folder, folder], check=True)
    for layer in map(Path, (images / "layers").read_text().splitlines()):
        place = DATA / "overlay2" / layer.parent.name / "diff"
        subprocess.run(["mount", "--bind", layer, place], check=True)


if __name__ == "__main__":
    sys.exit(main())
