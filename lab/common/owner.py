"""Who owns what: the identity of an orchestrator, the labels that carry it, the lab's state folder."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.common import proc

MARK = "LAB_RUN_MARK"  # in the environment of every process of the local runtime
RUN, TRIAL, OWNER, DEADLINE = "lab.run", "lab.trial", "lab.owner", "lab.deadline"


@dataclass(frozen=True)
class Owner:
    """A process that can be told from every other: its boot, its pid namespace, its pid and its start."""

    boot: str
    namespace: str
    pid: int
    started: int

    @classmethod
    def myself(cls) -> Owner:
        """This process."""
        started = proc.start_ticks(os.getpid())
        assert started is not None  # we are running
        return cls(proc.boot_id(), proc.pid_namespace(), os.getpid(), started)

    @classmethod
    def parse(cls, text: str) -> Owner | None:
        """The reverse of str(); None for what this version did not write."""
        parts = text.split(":")
        if len(parts) != 4 or not (parts[2].isdigit() and parts[3].isdigit()):
            return None
        return cls(parts[0], parts[1], int(parts[2]), int(parts[3]))

    def __str__(self) -> str:
        return f"{self.boot}:{self.namespace}:{self.pid}:{self.started}"

    def alive(self) -> bool | None:
        """Whether it lives; None where this process cannot tell (another machine, boot or pid namespace)."""
        if (self.boot, self.namespace) != (proc.boot_id(), proc.pid_namespace()):
            return None
        return proc.start_ticks(self.pid) == self.started


def labels(run: str, trial: str, owner: Owner, lifetime_s: float) -> dict[str, str]:
    """What every container and network of a trial carries."""
    deadline = int(time.time() + lifetime_s)
    return {RUN: run, TRIAL: trial, OWNER: str(owner), DEADLINE: str(deadline)}


def is_dead(carried: Mapping[str, str]) -> bool:
    """Whether labels name an owner that is gone: surely, or past its deadline where nobody here can tell."""
    owner = Owner.parse(carried.get(OWNER, ""))
    alive = owner.alive() if owner else None
    if alive is not None:
        return not alive
    deadline = carried.get(DEADLINE, "")
    return deadline.isdigit() and int(deadline) < time.time()


def state_dir() -> Path:
    """Where journals, logs and pid files live: $LAB_STATE_DIR, else a folder of the system or of the user."""
    if given := os.environ.get("LAB_STATE_DIR"):
        path = Path(given)
    elif os.geteuid() == 0:
        path = Path("/var/lib/io-model-lab")
    else:
        home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
        path = Path(home) / "io-model-lab"
    path.mkdir(parents=True, exist_ok=True)
    return path
