"""Render the Topology of a trial: its nodes with their networks, limits and settings."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from lab.plan.capacity import Capacity, Placement
from lab.plan.node_settings import Address, ServerSettings, SwarmSettings
from lab.plan.plan import Plan, Trial
from lab.plan.topology import CONTROL, DATA, Network, Node, Topology
from lab.scenario import catalog, threshold
from lab.scenario.link import Direction
from lab.scenario.scenario import Scenario
from lab.scenario.swarm import MAX_GROUPS

# Longer than any probing after the load; before that the runtime stops the swarm with SIGTERM.
LINGER_S = 120


@dataclass(frozen=True)
class Addressing:
    """How nodes reach each other: by host name in containers, by port where they share one address.

    `server_port` is that of a server whose scenario writes none; None: the default of the scenario. `files`
    is the folder in which nodes find the files that the scenario names (a locustfile).
    """

    server_host: str = "server"
    server_port: int | None = None
    master_host: str | None = None  # None: the name of the master node
    master_ports: tuple[int, ...] = (5557,) * MAX_GROUPS  # one per group of the swarm
    bind: str = "0.0.0.0"
    files: str = "/scenario"


def free_local_addressing(folder: Path) -> Addressing:
    """Find free loopback ports for nodes that are plain processes; `folder` holds the files they need."""
    with ExitStack() as stack:
        each = [stack.enter_context(socket.socket()) for _ in range(1 + MAX_GROUPS)]
        for one in each:
            one.bind(("127.0.0.1", 0))
        first, *others = (one.getsockname()[1] for one in each)
    files = str(folder.resolve())
    return Addressing("127.0.0.1", first, "127.0.0.1", tuple(others), bind="127.0.0.1", files=files)


def render(
    run: str,
    plan: Plan,
    trial: Trial,
    capacity: Capacity,
    placement: Placement,
    addressing: Addressing,
    real_time: bool = True,
) -> Topology:
    """Return the topology of one trial: server, masters and workers, in the order in which they start.

    With `real_time` engines and delay lines ask for the real-time class; the server never does, nor does a
    worker whose CPU time the scenario limits: a CFS quota does not hold real-time processes.
    """
    held = {event.limit for event in trial.scenario.events if event.limit and event.cpus is not None}
    nodes = [_server_node(trial, capacity, placement, addressing)]
    for group_index, group in enumerate(trial.scenario.swarm.all_groups):
        settings = partial(swarm_settings, trial, addressing, group_index)
        nodes.append(_swarm_node(group.master, "master", settings(0, real_time), capacity, placement))
        for index, name in enumerate(group.workers):
            of_worker = settings(index, real_time and name not in held)
            nodes.append(_swarm_node(name, "worker", of_worker, capacity, placement))
    return Topology(
        run=run,
        trial=trial.id,
        nodes=tuple(nodes),
        networks=(Network(CONTROL), Network(DATA)),
        io_uring=needs_io_uring(plan.scenario),
        helper_cpu_set=placement.swarm,
        helper_raw=may_duplicate(trial.scenario),
        real_time=real_time,
    )


def needs_io_uring(scenario: Scenario) -> bool:
    """Tell whether any model of the run needs io_uring: then all its servers get a profile that allows it."""
    models = [server.model for server in scenario.servers.values() if server.model]
    return any(catalog.models()[model].needs.io_uring for model in models)


def may_duplicate(scenario: Scenario) -> bool:
    """Tell whether any link duplicates packets, at the start or after an event."""
    directions: list[Direction | None] = [
        direction for link in scenario.links for direction in (link, link.there, link.back)
    ]
    for event in scenario.events:
        directions += [event.set, event.merge, event.ramp.to if event.ramp else None]
    return any(direction is not None and direction.duplicate for direction in directions)


def swarm_settings(
    trial: Trial, addressing: Addressing, group_index: int = 0, worker_index: int = 0, real_time: bool = True
) -> SwarmSettings:
    """Return the settings of one swarm node; `group_index` is that of its group."""
    scenario, group = trial.scenario, trial.scenario.swarm.all_groups[group_index]
    locustfile = group.swarm.locustfile
    return SwarmSettings(
        target=Address(addressing.server_host, _port(trial, addressing)),
        master=Address(addressing.master_host or group.master, addressing.master_ports[group_index]),
        swarm=group.swarm,
        handler=scenario.handler,
        seed=scenario.seed,
        worker_index=worker_index,
        linger_s=LINGER_S,
        locustfile=f"{addressing.files}/{locustfile}" if locustfile else None,
        barrier=bool(group.name),  # all groups start at the same time
        tell_window=bool(threshold.aborting(scenario.thresholds, trial.server)),
        real_time=real_time,
    )


def _port(trial: Trial, addressing: Addressing) -> int:
    """Return the port on which the server listens: as written, where it is."""
    server, free = trial.scenario.servers[trial.server], addressing.server_port
    return server.port if free is None or "port" in server.model_fields_set else free


def _server_node(trial: Trial, capacity: Capacity, placement: Placement, addressing: Addressing) -> Node:
    server, scenario = trial.scenario.servers[trial.server], trial.scenario
    settings = ServerSettings(
        model=server.model or "",
        wire=scenario.swarm.wire,
        handler=scenario.handler,
        host=addressing.bind,
        port=_port(trial, addressing),
        backlog=server.backlog,
        workers=server.workers,
    )
    return Node(
        name="server",
        role="server",
        image=server.image or "server",
        argv=("python", "-m", "iomodels") if server.model else (),
        settings=settings,
        networks=(DATA,),
        cpu_set=placement.server,
        limits=capacity.limits_of(server),
        sysctls=capacity.server_sysctls,
    )


def _swarm_node(
    name: str,
    role: Literal["master", "worker"],
    settings: SwarmSettings,
    capacity: Capacity,
    placement: Placement,
) -> Node:
    master = role == "master"
    return Node(
        name=name,
        role=role,
        image="swarm",
        argv=("python", "-m", "swarm", role),
        settings=settings,
        networks=(CONTROL,) if master else (CONTROL, DATA),
        cpu_set=placement.swarm,
        limits=capacity.worker_limits,
        sysctls={} if master else capacity.worker_sysctls,
        real_time=settings.real_time and not master,
    )
