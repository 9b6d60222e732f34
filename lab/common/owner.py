"""Owners of containers and processes: their identity, the labels that carry it, the state folder."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.common import proc

MARK = "LAB_RUN_MARK"  # an environment variable of every process of the local runtime
RUN, TRIAL, OWNER, DEADLINE = "lab.run", "lab.trial", "lab.owner", "lab.deadline"


@dataclass(frozen=True)
class Owner:
    """The identity of a process, unique across boots: boot, pid namespace, pid and start time."""

    boot: str
    namespace: str
    pid: int
    started: int

    @classmethod
    def myself(cls) -> Owner:
        """Return the identity of this process."""
        started = proc.start_ticks(os.getpid())
        assert started is not None  # we are running
        return cls(proc.boot_id(), proc.pid_namespace(), os.getpid(), started)

    @classmethod
    def parse(cls, text: str) -> Owner | None:
        """Read what str() wrote; None for text of another format."""
        parts = text.split(":")
        if len(parts) != 4 or not (parts[2].isdigit() and parts[3].isdigit()):
            return None
        return cls(parts[0], parts[1], int(parts[2]), int(parts[3]))

    def __str__(self) -> str:
        return f"{self.boot}:{self.namespace}:{self.pid}:{self.started}"

    def alive(self) -> bool | None:
        """Return whether it runs; None where that is unknown (another machine, boot or pid namespace)."""
        if (self.boot, self.namespace) != (proc.boot_id(), proc.pid_namespace()):
            return None
        return proc.start_ticks(self.pid) == self.started


def labels(run: str, trial: str, owner: Owner, lifetime_s: float) -> dict[str, str]:
    """Return the labels of every container and network of a trial."""
    deadline = int(time.time() + lifetime_s)
    return {RUN: run, TRIAL: trial, OWNER: str(owner), DEADLINE: str(deadline)}


def is_dead(carried: Mapping[str, str]) -> bool:
    """Return whether the labelled owner is gone: known to be, or past its deadline where that is unknown."""
    owner = Owner.parse(carried.get(OWNER, ""))
    alive = owner.alive() if owner else None
    if alive is not None:
        return not alive
    deadline = carried.get(DEADLINE, "")
    return deadline.isdigit() and int(deadline) < time.time()


def state_dir() -> Path:
    """Return the folder of journals, logs and pid files: $LAB_STATE_DIR, else the system's or the user's."""
    if given := os.environ.get("LAB_STATE_DIR"):
        path = Path(given)
    elif os.geteuid() == 0:
        path = Path("/var/lib/io-model-lab")
    else:
        home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
        path = Path(home) / "io-model-lab"
    path.mkdir(parents=True, exist_ok=True)
    return path
