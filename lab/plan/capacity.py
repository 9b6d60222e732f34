"""What a plan needs from the host, and the limits of its nodes; computed before anything starts.

A limit that a server writes is in force as it is written. All servers of a run that leave it out get the
same: the maximum over the needs of all models in the run, and over what the others write.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from lab.common.errors import HostCannot
from lab.plan.host import Host
from lab.plan.plan import Plan, Trial
from lab.plan.topology import NodeLimits
from lab.scenario import catalog
from lab.scenario.scenario import Scenario, Server
from lab.scenario.swarm import Swarm

SPARE_DESCRIPTORS = 64
SPARE_PIDS = 64
BASE_MEMORY_BYTES = 64 << 20
# A swarm node is Python with gevent and Locust: about 80 MiB, plus about 2 KiB per connection.
SWARM_BASE_MEMORY_BYTES, SWARM_MEMORY_PER_USER = 256 << 20, 4 << 10
ENGINE_MEMORY_BYTES = 48 << 20  # per engine after the first: Python without gevent and Locust
# A user of a locustfile is a greenlet with an HTTP client, which may open a few connections.
OWN_USER_MEMORY, OWN_USER_CONNECTIONS = 256 << 10, 4
# Both ends of an idle TCP connection take about 10 KiB of kernel slab.
KERNEL_MEMORY_PER_CONNECTION = 10 << 10
FIRST_PORT, LAST_PORT = 1024, 65535
# connect(2) searches all even ports before it tries an odd one (__inet_hash_connect). Once the even ones are
# in use, each connect takes milliseconds, and the event loop stalls.
CLIENT_PORTS = (LAST_PORT - FIRST_PORT + 1) // 2
TIME_WAIT_S, CONNTRACK_KEPT_S = 60.0, 120.0
# Stack, guard page and malloc arena of a thread are one mapping each (proc(5), max_map_count).
MAPS_PER_THREAD = 3


@dataclass(frozen=True)
class Requirement:
    """One resource of the host: the amount needed, the amount available, and the remedy for a shortage."""

    what: str
    needed: int
    available: int | None
    remedy: str

    @property
    def enough(self) -> bool:
        """Whether the amount is available. An unknown limit counts as enough, and is shown as unknown."""
        return self.available is None or self.needed <= self.available


@dataclass(frozen=True)
class Capacity:
    """What a run needs from the host, and the limits of its nodes.

    `server_limits` are those of a server that writes none.
    """

    requirements: tuple[Requirement, ...]
    server_limits: NodeLimits
    worker_limits: NodeLimits
    server_sysctls: dict[str, str]
    worker_sysctls: dict[str, str]

    def limits_of(self, server: Server) -> NodeLimits:
        """Return the limits of a server: each as it is written, else the same for all of the run."""
        shared = self.server_limits
        return NodeLimits(
            cpus=server.cpus,
            memory_bytes=server.memory or shared.memory_bytes,
            pids=server.pids or shared.pids,
            nofile=server.nofile or shared.nofile,
        )

    def require(self) -> None:
        """Raise HostCannot that lists all shortages."""
        short = [need for need in self.requirements if not need.enough]
        if short:
            lines = [f"{n.what}: {n.needed:,} needed, {n.available:,} available; {n.remedy}" for n in short]
            raise HostCannot("this host cannot run the plan: " + "; ".join(lines))


def plan_capacity(plan: Plan, host: Host) -> Capacity:
    """Compute the requirements of the largest trial, and the limits for all trials."""
    trials = plan.trials
    all_swarms = [t.scenario.swarm for t in trials]
    swarms = [group.swarm for swarm in all_swarms for group in swarm.all_groups]
    per_worker = max((math.ceil(s.max_users / s.workers) for s in swarms), default=0)
    per_engine = max((math.ceil(s.max_users / s.workers / s.engines) for s in swarms), default=0)
    engines = max((s.engines for s in swarms), default=1)
    nofile_server = max((_server_descriptors(t) for t in trials), default=0)
    own_users = any(swarm.locustfile for swarm in swarms)
    nofile_worker = per_engine * (OWN_USER_CONNECTIONS if own_users else 1) + SPARE_DESCRIPTORS
    pids = max((_server_pids(t) for t in trials), default=0)
    memory = max((_server_memory(t) for t in trials), default=0)
    memory_limit = max((_server(t).memory or 0 for t in trials), default=0) or None
    per_user = OWN_USER_MEMORY if own_users else SWARM_MEMORY_PER_USER
    worker_memory = SWARM_BASE_MEMORY_BYTES + per_user * per_worker + ENGINE_MEMORY_BYTES * (engines - 1)
    workers = max((s.workers for s in all_swarms), default=0)
    masters = max((len(s.all_groups) for s in all_swarms), default=1)
    backlog = max((_server(t).backlog for t in trials), default=0)
    needs = _Needs(
        nofile_server=nofile_server,
        nofile_worker=nofile_worker,
        pids=pids,
        trial_memory=memory + worker_memory * workers + SWARM_BASE_MEMORY_BYTES * masters,
        workers=workers,
    )
    return Capacity(
        requirements=_requirements(plan, host, needs),
        server_limits=NodeLimits(
            cpus=None,
            memory_bytes=memory_limit,
            pids=pids + SPARE_PIDS,
            nofile=min(max(nofile_server, 1024 + SPARE_DESCRIPTORS), host.nofile_hard),
        ),
        worker_limits=NodeLimits(
            memory_bytes=worker_memory * 2, pids=256, nofile=min(max(nofile_worker, 4096), host.nofile_hard)
        ),
        server_sysctls={
            "net.core.somaxconn": str(backlog),
            "net.ipv4.tcp_max_syn_backlog": str(max(backlog, 1024)),
        },
        worker_sysctls={"net.ipv4.ip_local_port_range": f"{FIRST_PORT} {LAST_PORT}"},
    )


@dataclass(frozen=True)
class _Needs:
    """What the largest trial of a plan needs: descriptors, processes, memory in bytes, workers."""

    nofile_server: int
    nofile_worker: int
    pids: int
    trial_memory: int
    workers: int


def _requirements(plan: Plan, host: Host, needs: _Needs) -> tuple[Requirement, ...]:
    trials = plan.trials
    all_swarms = [t.scenario.swarm for t in trials]
    swarms = [group.swarm for swarm in all_swarms for group in swarm.all_groups]
    memory_short = max(
        trials, key=lambda t: _server_memory(t) / (_server(t).memory or math.inf), default=None
    )
    return (
        Requirement("descriptors per server process", needs.nofile_server, host.nofile_hard,
             "raise the hard nofile limit, or give the server more workers"),
        Requirement("descriptors per swarm engine", needs.nofile_worker, host.nofile_hard,
             "raise the hard nofile limit, or set swarm.engines or swarm.workers higher"),
        Requirement("client ports per swarm worker", max(map(client_ports, swarms), default=0),
             CLIENT_PORTS,
             "set swarm.workers higher: each worker has its own address and ports; connect(2) finds only "
             "half of the ports quickly, and a port that the client closes stays in TIME_WAIT for 60 s"),
        Requirement("processes and threads", needs.pids + 16 * needs.workers,
             _min_known(host.pid_max, host.threads_max),
             "raise kernel.pid_max and kernel.threads-max"),
        Requirement("memory maps of a server process", needs.pids * MAPS_PER_THREAD, host.max_map_count,
             "raise vm.max_map_count"),
        Requirement("memory for one trial (bytes)",
             needs.trial_memory,
             host.memory_available_bytes,
             "use fewer users, or a host with more memory"),
        Requirement("memory under the server's limit (bytes)",
             _server_memory(memory_short) if memory_short else 0,
             _server(memory_short).memory if memory_short else None,
             "raise the memory of the server, or use fewer users"),
        Requirement("conntrack entries", max(map(conntrack_entries, all_swarms), default=0),
             host.conntrack_max,
             "raise net.netfilter.nf_conntrack_max, or use fewer users or fewer new connections per second"),
    )  # fmt: skip


def client_ports(swarm: Swarm) -> int:
    """Return the ports that a worker uses at once: of open connections, and of those in TIME_WAIT.

    The end that closes first keeps the port in TIME_WAIT for 60 s (TCP_TIMEWAIT_LEN in the kernel). With
    http1 and churn the server closes first, and the client's port is free. The rate of a closed load is
    unknown: the check `client_exhausted` covers it.
    """
    held = math.ceil(swarm.max_users / swarm.workers)
    closes_first = swarm.wire == "greet" or (swarm.wire == "echo" and swarm.clients.churn)
    if not closes_first or swarm.load.max_rate_per_s is None:
        return held
    load_s = swarm.phases.load_s
    return held + math.ceil(swarm.load.max_rate_per_s * min(TIME_WAIT_S, load_s) / swarm.workers)


def conntrack_entries(swarm: Swarm) -> int:
    """Return the maximum number of conntrack entries; with br_netfilter the host tracks bridged traffic.

    An entry stays for 120 s after the end of its connection (nf_conntrack_tcp_timeout_time_wait). The engine
    removes the entries of a container all_swarms with its network.
    """
    kept_s = min(CONNTRACK_KEPT_S, swarm.phases.load_s)
    churned = sum(
        kept_s * (group.swarm.load.max_rate_per_s or 0.0)
        for group in swarm.all_groups
        if group.swarm.one_exchange and swarm.wire != "datagram"
    )
    return swarm.max_users + math.ceil(churned)


def min_workers(users: int, nofile_hard: int) -> int:
    """Return how many server processes hold this number of connections over SO_REUSEPORT."""
    workers = 1
    while _busiest_worker(users, workers) + SPARE_DESCRIPTORS > nofile_hard and workers < users:
        workers += 1
    return workers


def _busiest_worker(users: int, workers: int) -> int:
    """Return the connections of the busiest worker: SO_REUSEPORT spreads them by a hash, so unevenly.

    The number per worker is binomial; the bound is five standard deviations above its mean.
    """
    mean = users / workers
    return users if workers == 1 else min(users, math.ceil(mean + 5 * math.sqrt(mean)))


def _server(trial: Trial) -> Server:
    return trial.scenario.servers[trial.server]


def _model(trial: Trial) -> catalog.Model | None:
    name = _server(trial).model
    return catalog.models()[name] if name else None


def _needs(trial: Trial) -> catalog.ModelNeeds:
    model = _model(trial)
    return model.needs if model else catalog.ModelNeeds()


def _max_open_connections(trial: Trial) -> int:
    """Return the connections of one server process: its share of the users, or the model's known limit."""
    server, scenario = _server(trial), trial.scenario
    share = _busiest_worker(scenario.swarm.max_users, server.workers)
    known_limits = catalog.models()[server.model].limits if server.model else catalog.KnownLimits()
    known = min(known_limits.max_open or share, known_limits.served_at_once or share)
    return min(share, known)


def _server_descriptors(trial: Trial) -> int:
    """Return the limit that the server writes, which may be too low on purpose; else what it needs."""
    each = _needs(trial).descriptors_per_connection
    wanted = math.ceil(_max_open_connections(trial) * each) + SPARE_DESCRIPTORS
    return _server(trial).nofile or wanted


def _server_pids(trial: Trial) -> int:
    """Return the limit that the server writes, which may be too low on purpose; else what it needs."""
    server = _server(trial)
    wanted = math.ceil(_max_open_connections(trial) * _needs(trial).pids_per_connection) * server.workers
    return server.pids or wanted + SPARE_PIDS + server.workers


def _server_memory(trial: Trial) -> int:
    held = _max_open_connections(trial) * _server(trial).workers
    model = _model(trial)
    per_connection = (model.memory_bytes_per_connection if model else 0) + KERNEL_MEMORY_PER_CONNECTION
    return BASE_MEMORY_BYTES * _server(trial).workers + held * per_connection


def _min_known(*values: int | None) -> int | None:
    known = [value for value in values if value is not None]
    return min(known) if known else None


@dataclass(frozen=True)
class Placement:
    """CPU lists of the server and of the swarm. They `overlap` on a host with one CPU."""

    server: str
    swarm: str
    overlap: bool


def place(host: Host, scenario: Scenario) -> Placement:
    """Give the server its own CPUs, at most half of all, and the swarm the rest."""
    cpus = [str(cpu) for cpu in host.cpus]
    if len(cpus) < 2:
        return Placement(",".join(cpus), ",".join(cpus), True)
    wanted = max(server.workers for server in scenario.servers.values())
    own = max(1, min(wanted, len(cpus) // 2))
    return Placement(",".join(cpus[:own]), ",".join(cpus[own:]), False)
