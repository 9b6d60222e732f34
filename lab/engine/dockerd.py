"""A dockerd of the lab's own: started so that it outlives the command, known again by pid and start time."""

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
# In a session of its own and with none of our descriptors: else `make`, or CI, would wait for its end.
# The shell ends at once, so that it is nobody's child here.
DETACHED = 'setsid "$@" >"$LOG" 2>&1 </dev/null & echo $!'


@dataclass(frozen=True)
class Daemon:
    """Where an engine of the lab's own is and keeps its things. The defaults are dockerd's own."""

    state: Path
    url: str = "unix:///var/run/docker.sock"
    pidfile: Path = Path("/var/run/docker.pid")
    exec_root: Path = Path("/var/run/docker")
    arguments: tuple[str, ...] = ()
    command: tuple[str, ...] = ("dockerd",)

    @property
    def log(self) -> Path:
        """What the engine says."""
        return self.state / "dockerd.log"

    @property
    def record(self) -> Path:
        """Who it is: pid, start, address."""
        return self.state / "engine.json"

    def last_words(self) -> str:
        """The last line of its log."""
        lines = self.log.read_text(errors="replace").splitlines()
        return one_line(lines[-1]) if lines else "it said nothing"


def start(daemon: Daemon) -> int:
    """Start it and record who it is; does not wait until it answers. Raises HostCannot where one is there."""
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


def lives(daemon: Daemon) -> bool:
    """Whether the recorded process is still there."""
    return _recorded(daemon) is not None


def stop(daemon: Daemon) -> int | None:
    """Stop it; its pid, or None where none of the lab's lives. Raises HostCannot if it does not end."""
    pid = _recorded(daemon)
    if pid is None or not _is(pid, "dockerd"):
        return None
    os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + STOP_S
    while _is(pid, "dockerd"):
        if time.monotonic() > until:
            raise HostCannot(
                f"dockerd (process {pid}) does not end within {STOP_S:g} s; its log: {daemon.log}"
            )
        time.sleep(0.05)
    daemon.record.unlink(missing_ok=True)
    return pid


def _clear_stale(daemon: Daemon) -> None:
    """Remove pid files of a killed engine whose numbers other processes may have by now.

    dockerd takes a living pid in its pid file for itself, and one in containerd's for its containerd: it then
    refuses to start, or waits for it in vain. A containerd that does live on is left: dockerd takes it over.
    """
    for file, name in (
        (daemon.pidfile, "dockerd"),
        (daemon.exec_root / "containerd/containerd.pid", "containerd"),
    ):
        text = file.read_text().strip() if file.exists() else ""
        if text.isdigit() and _is(int(text), name):
            if name == "dockerd":
                raise HostCannot(
                    f"dockerd is there (process {text}, {file}) but does not listen at {daemon.url}"
                )
            continue
        file.unlink(missing_ok=True)


def _recorded(daemon: Daemon) -> int | None:
    """The pid that was recorded, if that very process lives."""
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


def _is(pid: int, name: str) -> bool:
    """Whether a living process has that command name."""
    if proc.start_ticks(pid) is None:
        return False
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == name
    except (FileNotFoundError, ProcessLookupError):
        return False
