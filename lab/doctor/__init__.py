"""Is this host fit for the lab? Facts in, rows out: what was found, what it means, what to run. Pure.

`lab.doctor.facts` reads the facts; nothing here touches the host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from lab.common.units import show_bytes
from lab.plan.host import Host

Level = Literal["ok", "warn", "bad"]

OLDEST_PYTHON, OLDEST_API = (3, 11), (1, 41)
# What the bundled scenarios ask of a host: 10,000 connections, a thread each (`lab plan` says it exactly).
CONNECTIONS, THREADS = 10_000, 12_000
MEMORY_BYTES, FEW_MEMORY_BYTES = 4 << 30, 1 << 30
DISK_BYTES, FEW_DISK_BYTES = 5 << 30, 1 << 30
DISK_HOLDS = {"results": "results", "engine": "images and containers"}
FIT_LOCAL_PORTS = 10_000
# Where a distribution keeps sch_netem when its small kernel lacks it, by the ID of os-release(5).
MORE_MODULES = {
    "ubuntu": 'sudo apt-get install "linux-modules-extra-$(uname -r)" && sudo modprobe sch_netem',
    "debian": 'sudo apt-get install "linux-image-$(dpkg --print-architecture)" && sudo reboot',
    "fedora": 'sudo dnf install "kernel-modules-extra-$(uname -r)" && sudo modprobe sch_netem',
}
MORE_MODULES |= dict.fromkeys(("rhel", "centos", "rocky", "almalinux"), MORE_MODULES["fedora"])


@dataclass(frozen=True)
class Row:
    """One line of the diagnosis. `do` is a command that mends it, empty where nothing is wrong or helps."""

    name: str
    level: Level
    found: str
    means: str
    do: str = ""

    def to_json(self) -> dict[str, str]:
        """Plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Facts:
    """What was read. None, or an empty map, where it could not be; `*_says` then tells why."""

    python: tuple[int, ...]
    host: Host
    distribution: str = ""
    engine: Mapping[str, Any] | None = None
    engine_says: str = ""
    images: Mapping[str, bool] = field(default_factory=dict)
    shaping: Mapping[str, Any] | None = None
    shaping_says: str = ""
    syscalls_says: str | None = None
    io_uring_says: str | None = None
    io_uring_disabled: int | None = None
    port_range: tuple[int, int] | None = None
    conntrack_used: int | None = None
    disk_free_bytes: Mapping[str, int] = field(default_factory=dict)
    pool: str = ""
    pool_taken: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    swarm_imports: bool = True


def examine(facts: Facts) -> list[Row]:
    """Every row, in the order in which one would mend them."""
    return [row for check in CHECKS for row in check(facts)]


def worst(rows: list[Row]) -> Level:
    """The worst level among the rows."""
    levels = {row.level for row in rows}
    return "bad" if "bad" in levels else "warn" if "warn" in levels else "ok"


def python(facts: Facts) -> Iterator[Row]:
    """The interpreter that runs the lab, and whether it can run the swarm without containers."""
    found = ".".join(map(str, facts.python))
    if facts.python[:2] < OLDEST_PYTHON:
        yield Row("python", "bad", found, "the lab needs Python 3.11", "sudo apt-get install python3.11")
    else:
        yield Row("python", "ok", found, "runs the orchestrator")
    if not facts.swarm_imports:
        says = "the local runtime has no swarm: locust is missing here (containers bring their own)"
        yield Row("local runtime", "warn", "no locust", says, "pip install -r requirements/dev.txt")


def engine(facts: Facts) -> Iterator[Row]:
    """The Docker engine, its API, its filters and where its kernel puts the figures."""
    if facts.engine is None:
        says = "no containers: only --runtime local, without isolation and links"
        yield Row("engine", "bad", facts.engine_says or "none answers", says, "lab doctor --fix")
        return
    found, api = facts.engine, _numbers(facts.engine["api_version"])
    name = f"Docker {found['version']}, API {found['api_version']}, {found['storage_driver']}"
    if api < OLDEST_API:
        yield Row("engine", "bad", name, "API 1.41 (Engine 20.10) or later is needed",
                  "sudo apt-get install --only-upgrade docker.io")  # fmt: skip
    else:
        yield Row("engine", "ok", name, "nodes run in containers of their own")
    if any("seccomp" in option for option in found["security"]):
        yield Row("seccomp", "ok", "in the engine", "every container gets the lab's own system call filter")
    else:
        yield Row("seccomp", "warn", "not in the engine", "containers run without a system call filter",
                  "docker info --format '{{.SecurityOptions}}'   (use a build with seccomp)")  # fmt: skip
    missing = [image for image, built in facts.images.items() if not built]
    if missing:
        says = "the first run builds them, about a minute"
        yield Row("images", "warn", f"not built yet: {', '.join(missing)}", says, "lab images")
    elif facts.images:
        yield Row("images", "ok", ", ".join(facts.images), "built from the present sources")


def cgroup(facts: Facts) -> Iterator[Row]:
    """Where CPU time and memory of a node are read."""
    version = facts.host.cgroup
    if version == "none":
        yield Row("cgroup", "bad", "no hierarchy is mounted", "no CPU and memory figures per node",
                  "sudo mount -t cgroup2 none /sys/fs/cgroup")  # fmt: skip
    else:
        yield Row("cgroup", "ok", version, "CPU time, memory and throttling are read per node")


def links(facts: Facts) -> Iterator[Row]:
    """What can delay and spoil a link: the kernel's netem, or the delay line over NFQUEUE."""
    if facts.shaping is None:
        says = "not known whether links can be impaired"
        yield Row("links", "warn", facts.shaping_says or "not asked", says, "lab images && lab doctor")
        return
    able, why = facts.shaping, facts.shaping.get("why", {})
    load = MORE_MODULES.get(facts.distribution, "sudo modprobe sch_netem")
    if able.get("netem"):
        yield Row("links", "ok", "netem", "the kernel delays, drops, duplicates and reorders")
    elif able.get("nfqueue"):
        says = "a delay line in user space takes its place; results are stamped so (about +0.3 ms)"
        yield Row("links", "warn", why.get("netem", "no netem"), says, load)
    else:
        found = "; ".join(why.get(name, f"no {name}") for name in ("netem", "nfqueue"))
        yield Row("links", "bad", found, "scenarios with links cannot run", load)
    if not able.get("tbf"):
        found = why.get("tbf", "no tbf")
        yield Row("link rate", "warn", found, "links with a rate cannot run", "sudo modprobe sch_tbf")


def syscalls(facts: Facts) -> Iterator[Row]:
    """Whether bpf(2) may count system calls: root, or CAP_BPF with CAP_PERFMON (capabilities(7))."""
    if facts.syscalls_says is None:
        yield Row("system calls", "ok", "counted by BPF", "each model is proved by the calls that it makes")
    else:
        says = "no system calls per request, and no proof that a model is what it says"
        yield Row("system calls", "warn", facts.syscalls_says, says, "sudo lab run …   (as root)")


def io_uring(facts: Facts) -> Iterator[Row]:
    """Whether io_uring_setup(2) is let through: kernel.io_uring_disabled, or a seccomp filter around us."""
    if facts.io_uring_says is None:
        yield Row("io_uring", "ok", "allowed", "the io_uring model can run")
        return
    says, switch = "the io_uring model cannot run", "kernel.io_uring_disabled"
    if facts.io_uring_disabled:
        yield Row(
            "io_uring", "warn", f"{switch} = {facts.io_uring_disabled}", says, f"sudo sysctl -w {switch}=0"
        )
    else:
        yield Row("io_uring", "warn", facts.io_uring_says, says)


def limits(facts: Facts) -> Iterator[Row]:
    """Descriptors, threads, ports, connection tracking: what 10,000 connections need."""
    host = facts.host
    fits = host.nofile_hard > CONNECTIONS + 64
    yield Row(
        "descriptors", "ok" if fits else "warn", f"{host.nofile_hard:,} per process",
        "one process can hold 10,000 connections" if fits else "10,000 connections need several processes",
        "" if fits else "ulimit -Hn 20000   (as root, in the shell that starts the engine and the lab)",
    )  # fmt: skip
    tasks = min(n for n in (host.pid_max, host.threads_max, 1 << 22) if n is not None)
    fits = tasks > THREADS
    yield Row(
        "threads", "ok" if fits else "warn", f"{tasks:,} on this host",
        "a thread per connection fits at 10,000" if fits else "a thread per connection does not reach 10,000",
        "" if fits else "sudo sysctl -w kernel.pid_max=65536 kernel.threads-max=65536",
    )  # fmt: skip
    yield from _ports(facts)
    yield from _conntrack(facts)


def _ports(facts: Facts) -> Iterator[Row]:
    if facts.port_range is None:
        return
    first, last = facts.port_range
    found = f"{first}-{last} here; 1024-65535 in each swarm container"
    if last - first + 1 >= FIT_LOCAL_PORTS:
        yield Row("ports", "ok", found, "enough client ports for 10,000 connections to one server")
    else:
        yield Row("ports", "warn", found, "the local runtime runs out of client ports below 10,000",
                  'sudo sysctl -w net.ipv4.ip_local_port_range="1024 65535"')  # fmt: skip


def _conntrack(facts: Facts) -> Iterator[Row]:
    most, used = facts.host.conntrack_max, facts.conntrack_used or 0
    if most is None:
        yield Row("conntrack", "ok", "not loaded", "connections are not tracked")
        return
    fits = most - used > 2 * CONNECTIONS
    yield Row(
        "conntrack", "ok" if fits else "warn", f"{used:,} of {most:,} entries in use",
        "room for every connection on the bridges" if fits else "new connections may be dropped unseen",
        "" if fits else "sudo sysctl -w net.netfilter.nf_conntrack_max=262144",
    )  # fmt: skip


def machine(facts: Facts) -> Iterator[Row]:
    """CPUs, memory, disk."""
    cpus = len(facts.host.cpus)
    if cpus < 2:
        says = "server and swarm share it: every result will be suspect"
        yield Row("cpus", "warn", f"{cpus}", says, "taskset -p 0xffffffff $$   (if more were taken away)")
    else:
        yield Row("cpus", "ok", f"{cpus}", "the server gets CPUs of its own")
    free = facts.host.memory_available_bytes
    level: Level = "bad" if free < FEW_MEMORY_BYTES else "warn" if free < MEMORY_BYTES else "ok"
    says = "enough for 10,000 connections" if level == "ok" else "large scenarios will be refused"
    yield Row("memory", level, f"{show_bytes(free)} available", says,
              "" if level == "ok" else "ps -eo rss,comm --sort=-rss | head   (what takes it)")  # fmt: skip
    for where, left in facts.disk_free_bytes.items():
        level = "bad" if left < FEW_DISK_BYTES else "warn" if left < DISK_BYTES else "ok"
        yield Row(f"disk: {where}", level, f"{show_bytes(left)} free",
                  f"room for {DISK_HOLDS[where]}" if level == "ok" else "runs may end with a full disk",
                  "" if level == "ok" else "lab clean --keep 5")  # fmt: skip


def network(facts: Facts) -> Iterator[Row]:
    """The pool that internal networks are cut from, against what this host routes elsewhere."""
    if facts.pool_taken:
        yield Row("network pool", "warn", f"{facts.pool} overlaps {', '.join(facts.pool_taken[:3])}",
                  "those subnets are left out; a run fails when none is left",
                  "set network-pool in lab.yaml, such as 10.200.0.0/16")  # fmt: skip
    elif facts.pool:
        yield Row("network pool", "ok", facts.pool, "no route of this host is in the way")


def leftovers(facts: Facts) -> Iterator[Row]:
    """What killed runs left."""
    if facts.left:
        says = "the next run clears them away"
        yield Row("left-overs", "warn", f"of dead runs: {', '.join(facts.left[:3])}", says, "lab down --all")


CHECKS: tuple[Callable[[Facts], Iterator[Row]], ...] = (
    python, engine, cgroup, links, syscalls, io_uring, limits, machine, network, leftovers,
)  # fmt: skip


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
