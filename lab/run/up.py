"""A topology for interactive use: nodes and links of the first trial, without load until it is started.

It ends with the process that started it. So it always has an owner, and the journal, the watchdog and
`lab down` remove it like any run. Its logs stay in the state folder for a day.
"""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lab.common.errors import LabError, NoMeasurement, UsageError
from lab.common.notify import Notify
from lab.common.owner import state_dir
from lab.common.short import shortened
from lab.impair.trial import TrialLinks
from lab.load.barrier import begin_when_held
from lab.plan import plan, render
from lab.plan.plan import Trial
from lab.plan.prepared import Prepared
from lab.plan.topology import DATA, Topology
from lab.results.link import LinkRecord
from lab.results.store import NAME_LENGTH
from lab.run import session
from lab.run.open_runtime import open_runtime, require_allowed
from lab.run.server_state import SERVER_READY_S
from lab.runtime import Deployment, Runtime

KEEP_LOGS_S = 24 * 3600.0
SWARM_READY_S = 60.0
LONGEST_S = 7 * 24 * 3600.0


@dataclass(frozen=True)
class Interactive:
    """A topology that is up."""

    run: str
    topology: Topology
    deployment: Deployment
    logs: Path
    links: Sequence[LinkRecord] = ()
    ended: list[str] = field(default_factory=list)

    def addresses(self) -> dict[str, str]:
        """Return the address of each node, on the data network where it has one."""
        nodes = [(node.name, node.networks) for node in self.topology.nodes if node.networks]
        return {
            name: self.deployment.address(name, DATA if DATA in networks else networks[0])
            for name, networks in nodes
        }

    def start_load(self) -> None:
        """Start the load, as images/CONTRACT.md says. Raises NoMeasurement where a master has ended."""
        for master in self.masters:
            self.deployment.signal(master, "SIGUSR1")

    @property
    def masters(self) -> list[str]:
        """The masters of the swarm's groups."""
        return [node.name for node in self.topology.nodes if node.role == "master"]

    def start_command(self) -> str:
        """Return the command that starts the load from another terminal."""
        if self.deployment.isolated:
            return f"lab net go {self.run}"
        return "kill -USR1 " + " ".join(str(self.deployment.pids(m)[0]) for m in self.masters)

    def wait(self) -> str:
        """Wait until the server has ended, or was removed; return how, in words."""
        try:
            self.deployment.wait_event("server", "stopped", LONGEST_S)
            self.ended.append("server: stopped")
        except NoMeasurement as error:
            self.ended.append(str(error).partition(" before 'stopped'")[0])
        return self.ended[-1]


@contextmanager
def up(
    prepared: Prepared, runtime_name: str, with_swarm: bool, notify: Notify, *, trusted: bool = False
) -> Iterator[Interactive]:
    """Start the plan's first trial with its links applied; remove it at the end. Raises LabError."""
    require_allowed(runtime_name, prepared, trusted)
    trial = prepared.plan.trials[0]
    run = f"up-{shortened(trial.scenario.name, NAME_LENGTH)}-{secrets.token_hex(2)}"
    remove_old_logs()
    logs = logs_folder() / run
    with ExitStack() as stack:
        runtime, _ = stack.enter_context(
            open_runtime(runtime_name, prepared, notify, ("nettools",), trusted=trusted)
        )
        logs.mkdir(parents=True)
        topology = _topology(run, prepared, trial, runtime, with_swarm)
        deployment = stack.enter_context(runtime.up(topology, logs))
        deployment.wait_event("server", "ready", SERVER_READY_S)
        if with_swarm:
            # Before it is ready, a master does not handle SIGUSR1: the signal would end it.
            for group in trial.scenario.swarm.all_groups:
                deployment.wait_event(group.master, "ready", SWARM_READY_S)
            if trial.scenario.swarm.groups:
                begin_when_held(deployment, [group.master for group in trial.scenario.swarm.all_groups])
        nodes = Interactive(run, topology, deployment, logs)
        links = stack.enter_context(_linked(nodes, trial)) if with_swarm else []
        if runtime.isolated:
            for node in topology.nodes:
                if DATA in node.networks:
                    deployment.helper(node.name)  # for `lab net`
        yield replace(nodes, links=links)


@contextmanager
def _linked(nodes: Interactive, trial: Trial) -> Iterator[Sequence[LinkRecord]]:
    """Apply the trial's links. Those of nodes that have ended disappeared with their namespaces."""
    with ExitStack() as stack:
        links = stack.enter_context(TrialLinks().applied(nodes.deployment, trial))
        yield links.records()
        with suppress(*([LabError] if nodes.ended else [])):
            stack.close()


def first(resolved: Any, server: str | None) -> Prepared:
    """Prepare the one trial to start: that of `server`, else the plan's first. Raises UsageError."""
    prepared = session.prepare(resolved, (server,) if server else ())
    return replace(prepared, plan=plan.Plan(prepared.plan.scenario, prepared.plan.trials[:1]))


def logs_folder() -> Path:
    """Return the folder with the logs, a folder for each `lab up`."""
    return state_dir() / "up"


def find_logs(name: str) -> Path | None:
    """Return the log folder of a `lab up` by its id or a unique prefix; None where there is none."""
    folder = logs_folder()
    found = sorted(path for path in folder.glob("up-*") if path.name.startswith(name)) if name else []
    exact = [path for path in found if path.name == name]
    if len(found) > 1 and not exact:
        raise UsageError(f"{name!r} is ambiguous: {', '.join(path.name for path in found[:4])}")
    return next(iter(exact or found), None)


def remove_old_logs() -> None:
    """Remove the logs that were last written to more than a day ago."""
    for path in logs_folder().glob("up-*"):
        newest = max((file.stat().st_mtime for file in [path, *path.iterdir()]), default=0.0)
        if time.time() - newest > KEEP_LOGS_S:
            shutil.rmtree(path)


def _topology(run: str, prepared: Prepared, trial: Trial, runtime: Runtime, with_swarm: bool) -> Topology:
    where = runtime.addressing(prepared.resolved.folder)
    whole = render.render(
        run,
        prepared.plan,
        trial,
        prepared.capacity,
        prepared.placement,
        where,
        real_time=prepared.resolved.settings.real_time,
    )
    if with_swarm:
        return whole
    return replace(whole, nodes=tuple(node for node in whole.nodes if node.role == "server"))
