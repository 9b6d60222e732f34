"""Remove what a run left: by its labels and its journal, never by a name pattern, never another run's.

There are four layers, each for the case that those before it were killed: a deployment removes what it made;
a watchdog process does so when the orchestrator dies; `reap` does so for dead runs before each command;
`down` does so on request.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docker.errors

from lab.common import proc
from lab.common.errors import LabError
from lab.common.notify import Notify
from lab.common.owner import MARK, OWNER, RUN, TRIAL, Owner, is_dead
from lab.engine.api import Engine, EngineLost, one_line
from lab.runtime import journal, realtime

REMOVE_S = 20.0


def reap(client: Any | None, notify: Notify) -> list[str]:
    """Remove everything of dead runs and return their ids; without a `client`, processes only."""
    dead = {entry.run for entry in journal.found() if entry.dead and (client or not entry.needs_engine)}
    if client is not None:
        dead |= {labels[RUN] for labels in _labelled(Engine(client.api)) if is_dead(labels)}
    for run in sorted(dead):
        notify(f"removing what run {run} left: {_remove(client, run, only_dead=True)}")
    return sorted(dead)


def down(client: Any | None, run: str | None, notify: Notify) -> list[str]:
    """Remove one run, even if it is still alive; with None every dead run, and name those still alive."""
    if run is not None:
        notify(f"removed of run {run}: {_remove(client, run, only_dead=False)}")
        return [run]
    gone = reap(client, notify)
    living = {} if client is None else _living(Engine(client.api))
    for other, pid in sorted(living.items()):
        notify(f"run {other} still runs (process {pid}) and was not removed: stop it, or: lab down {other}")
    return gone


def remove_labelled(engine: Engine, run: str, trial: str | None = None, deadline_s: float = REMOVE_S) -> str:
    """Remove the containers and networks labelled with `run` (and `trial`); return what that was, in words.

    Raises LabError when something cannot be removed within `deadline_s`.
    """
    until = time.monotonic() + deadline_s
    seen: tuple[set[str], set[str]] = (set(), set())
    while True:
        containers, networks = _carrying(engine, run, trial)
        if not containers and not networks:
            return f"{len(seen[0])} containers, {len(seen[1])} networks"
        seen[0].update(containers)
        seen[1].update(networks)
        says = [_remove_container(engine, id_) for id_ in containers] + [
            _remove_network(engine, id_) for id_ in networks
        ]
        trouble = "; ".join(filter(None, says))
        if trouble and time.monotonic() > until:
            raise LabError(
                f"run {run} was not removed within {deadline_s:g} s: {trouble}; try again: lab down {run}"
            )
        if trouble:
            time.sleep(0.2)


def end_processes(run: str, only_dead: bool = False, with_engine: bool = True) -> int:
    """End the processes in the journals of `run`, delete their folders and control groups, then the journals.

    Returns the number of processes. Without an engine, journals that name containers stay.
    """
    killed = 0
    for entry in journal.found():
        if entry.run != run or (only_dead and not entry.dead) or (entry.needs_engine and not with_engine):
            continue
        for mark in entry.named("mark"):
            killed += len(proc.marked(MARK, mark))
            if left := proc.kill_marked(MARK, mark):
                raise LabError(f"run {run}: these processes survive SIGKILL: {left}")
        for scratch in entry.named("scratch"):
            shutil.rmtree(scratch, ignore_errors=True)  # usually gone already
        for group in entry.named("cpu_group"):
            realtime.remove(Path(group))
        entry.path.unlink(missing_ok=True)
    return killed


def _remove(client: Any | None, run: str, only_dead: bool) -> str:
    says = "" if client is None else remove_labelled(Engine(client.api), run)
    killed = end_processes(run, only_dead, with_engine=client is not None)
    return ", ".join(filter(None, [says, f"{killed} processes" if killed or not says else ""]))


def _carrying(engine: Engine, run: str, trial: str | None) -> tuple[list[str], list[str]]:
    filters = {"label": [f"{RUN}={run}", *([f"{TRIAL}={trial}"] if trial else [])]}
    containers = engine.call("list containers", engine.api.containers, all=True, filters=filters)
    networks = engine.call("list networks", engine.api.networks, filters=filters)
    return [one["Id"] for one in containers], [one["Id"] for one in networks]


def _labelled(engine: Engine) -> list[dict[str, str]]:
    filters = {"label": RUN}
    containers = engine.call("list containers", engine.api.containers, all=True, filters=filters)
    networks = engine.call("list networks", engine.api.networks, filters=filters)
    return [one["Labels"] for one in [*containers, *networks]]


def _living(engine: Engine) -> dict[str, str]:
    found: dict[str, str] = {}
    for labels in _labelled(engine):
        owner = Owner.parse(labels.get(OWNER, ""))
        found[labels[RUN]] = str(owner.pid) if owner else "unknown"
    return found


def _remove_container(engine: Engine, id_: str) -> str:
    what = f"remove container {id_[:12]}"
    return _try_removal(
        lambda: engine.call(what, engine.api.remove_container, id_, allow=(404,), force=True, v=True)
    )


def _remove_network(engine: Engine, id_: str) -> str:
    return _try_removal(
        lambda: engine.call(f"remove network {id_[:12]}", engine.api.remove_network, id_, allow=(404,))
    )


def _try_removal(removal: Callable[[], object]) -> str:
    """Return "" when it is gone, else why not yet: removal in progress, network in use, mount busy."""
    try:
        removal()
    except EngineLost:
        raise
    except docker.errors.NotFound:
        return ""
    except LabError as error:
        return one_line(str(error))
    return ""
