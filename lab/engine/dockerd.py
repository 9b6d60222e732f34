"""A dockerd that the lab starts: it outlives the command, and is recognised by pid and start time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from lab.common import proc
from lab.common.errors import HostCannot, LabError
from lab.engine.api import one_line

STOP_S = 30.0
# A session of its own and none of our descriptors: otherwise `make`, or CI, would wait until it ends.
# The shell ends at once, so that dockerd is not a child of this process.
DETACHED = 'setsid "$@" >"$LOG" 2>&1 </dev/null & echo $!'


@dataclass(frozen=True)
class Daemon:
    """Address and files of an engine that the lab starts. The defaults are those of dockerd."""

    state: Path
    url: str = "unix:///var/run/docker.sock"
    pidfile: Path = Path("/var/run/docker.pid")
    exec_root: Path = Path("/var/run/docker")
    arguments: tuple[str, ...] = ()
    command: tuple[str, ...] = ("dockerd",)

    @property
    def log(self) -> Path:
        """The log of the engine."""
        return self.state / "dockerd.log"

    @property
    def record(self) -> Path:
        """The file with pid, start time and address."""
        return self.state / "engine.json"

    def last_log_line(self) -> str:
        """Return the last line of the log."""
        lines = self.log.read_text(errors="replace").splitlines()
        return one_line(lines[-1]) if lines else "its log is empty"


def start(daemon: Daemon) -> int:
    """Start it and record its pid, without waiting for an answer. Raises HostCannot if one is running."""
    _clear_stale(daemon)
    argv = [*daemon.command, "--host", daemon.url, "--pidfile", str(daemon.pidfile)]
    argv += ["--exec-root", str(daemon.exec_root), *daemon.arguments]
    shell = subprocess.run(
        ["sh", "-c", DETACHED, "sh", *argv],
        env={**os.environ, "LOG": str(daemon.log)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        timeout=STOP_S,
        check=True,
    )
    pid = int(shell.stdout)
    record = {"pid": pid, "started": proc.start_ticks(pid), "boot": proc.boot_id(), "url": daemon.url}
    daemon.record.write_text(json.dumps(record), encoding="utf-8")
    return pid


def is_running(daemon: Daemon) -> bool:
    """Return whether the recorded process still runs."""
    return _recorded_pid(daemon) is not None


def stop(daemon: Daemon) -> int | None:
    """Stop it and return its pid; None where it does not run. Raises HostCannot if it does not end."""
    pid = _recorded_pid(daemon)
    if pid is None or not _is_running_as(pid, "dockerd"):
        return None
    os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + STOP_S
    while _is_running_as(pid, "dockerd"):
        if time.monotonic() > until:
            raise HostCannot(
                f"dockerd (process {pid}) does not end within {STOP_S:g} s; its log: {daemon.log}"
            )
        time.sleep(0.05)
    daemon.record.unlink(missing_ok=True)
    return pid


def _clear_stale(daemon: Daemon) -> None:
    """Remove the pid files of a killed engine: other processes may have these pids by now.

    dockerd takes a living pid in its pid file for itself, and one in containerd's file for its containerd: it
    then refuses to start, or waits in vain. A containerd that still runs stays: dockerd takes it over.
    """
    for file, name in (
        (daemon.pidfile, "dockerd"),
        (daemon.exec_root / "containerd/containerd.pid", "containerd"),
    ):
        text = file.read_text().strip() if file.exists() else ""
        if text.isdigit() and _is_running_as(int(text), name):
            if name == "dockerd":
                raise HostCannot(f"dockerd runs (process {text}, {file}) but does not listen at {daemon.url}")
            continue
        file.unlink(missing_ok=True)


def _recorded_pid(daemon: Daemon) -> int | None:
    """Return the recorded pid if exactly that process still runs."""
    try:
        record = json.loads(daemon.record.read_text(encoding="utf-8"))
        same = record["boot"] == proc.boot_id() and proc.start_ticks(record["pid"]) == record["started"]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError) as error:
        raise LabError(
            f"{daemon.record} is damaged ({error}): delete it, and stop the engine by hand"
        ) from error
    return int(record["pid"]) if same and record["started"] is not None else None


def _is_running_as(pid: int, name: str) -> bool:
    """Return whether a living process has that command name."""
    if proc.start_ticks(pid) is None:
        return False
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == name
    except (FileNotFoundError, ProcessLookupError):
        return False
