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
# What the bundled scenarios need: 10,000 connections, a thread each (`lab plan` computes it exactly).
CONNECTIONS, THREADS = 10_000, 12_000
MEMORY_BYTES, FEW_MEMORY_BYTES = 4 << 30, 1 << 30
DISK_BYTES, FEW_DISK_BYTES = 5 << 30, 1 << 30
DISK_HOLDS = {"results": "results", "engine": "images and containers"}
FIT_LOCAL_PORTS = 10_000
# The package with sch_netem where the distribution's small kernel lacks it, by the ID of os-release(5).
MORE_MODULES = {
    "ubuntu": 'sudo apt-get install "linux-modules-extra-$(uname -r)" && sudo modprobe sch_netem',
    "debian": 'sudo apt-get install "linux-image-$(dpkg --print-architecture)" && sudo reboot',
    "fedora": 'sudo dnf install "kernel-modules-extra-$(uname -r)" && sudo modprobe sch_netem',
}
MORE_MODULES |= dict.fromkeys(("rhel", "centos", "rocky", "almalinux"), MORE_MODULES["fedora"])


@dataclass(frozen=True)
class Row:
    """One line of the diagnosis. `do` is a command that fixes it, empty where nothing is wrong or helps."""

    name: str
    level: Level
    found: str
    means: str
    do: str = ""

    def to_json(self) -> dict[str, str]:
        """Return plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Facts:
    """What was read. None, or an empty map, where that failed; then `*_says` tells why."""

    python: tuple[int, ...]
    host: Host
    distribution: str = ""
    engine: Mapping[str, Any] | None = None
    engine_says: str = ""
    images: Mapping[str, bool] = field(default_factory=dict)
    shaping: Mapping[str, Any] | None = None
    shaping_says: str = ""
    syscalls_says: str | None = None
    real_time_says: str | None = None
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
    """Return every row, in the order in which to fix them."""
    return [row for check in CHECKS for row in check(facts)]


def worst(rows: list[Row]) -> Level:
    """Return the worst level among the rows."""
    levels = {row.level for row in rows}
    return "bad" if "bad" in levels else "warn" if "warn" in levels else "ok"


def python(facts: Facts) -> Iterator[Row]:
    """Check the Python that runs the lab, and whether it can run the swarm without containers."""
    found = ".".join(map(str, facts.python))
    if facts.python[:2] < OLDEST_PYTHON:
        yield Row("python", "bad", found, "the lab needs 3.11 or later", "sudo apt-get install python3.11")
    else:
        yield Row("python", "ok", found, "the lab runs on it")
    if not facts.swarm_imports:
        says = "--runtime local cannot run: locust is missing here (containers have their own)"
        yield Row("local runtime", "warn", "no locust", says, "pip install -r requirements/dev.txt")


def engine(facts: Facts) -> Iterator[Row]:
    """Check the Docker engine: its version, its system call filter, the lab's images."""
    if facts.engine is None:
        says = "no containers: only --runtime local works, without isolation and links"
        yield Row("engine", "bad", facts.engine_says or "none answers", says, "lab doctor --fix")
        return
    found, api = facts.engine, _numbers(facts.engine["api_version"])
    name = f"Docker {found['version']}, API {found['api_version']}, {found['storage_driver']}"
    if api < OLDEST_API:
        yield Row("engine", "bad", name, "the lab needs API 1.41 (Docker Engine 20.10) or later",
                  "sudo apt-get install --only-upgrade docker.io")  # fmt: skip
    else:
        yield Row("engine", "ok", name, "each node runs in a container of its own")
    if any("seccomp" in option for option in found["security"]):
        yield Row("seccomp", "ok", "supported", "every container gets the lab's system call filter")
    else:
        yield Row("seccomp", "warn", "not supported", "containers run without a system call filter",
                  "docker info --format '{{.SecurityOptions}}'   (use a build with seccomp)")  # fmt: skip
    missing = [image for image, built in facts.images.items() if not built]
    if missing:
        says = "the first run builds them, in about a minute"
        yield Row("images", "warn", f"not built yet: {', '.join(missing)}", says, "lab images")
    elif facts.images:
        yield Row("images", "ok", ", ".join(facts.images), "built from the current sources")


def cgroup(facts: Facts) -> Iterator[Row]:
    """Check the hierarchy in which the CPU time and memory of a node are read."""
    version = facts.host.cgroup
    if version == "none":
        yield Row("cgroup", "bad", "none is mounted", "CPU time and memory per node cannot be read",
                  "sudo mount -t cgroup2 none /sys/fs/cgroup")  # fmt: skip
    else:
        yield Row("cgroup", "ok", version, "CPU time, memory and throttling of each node can be read")


def links(facts: Facts) -> Iterator[Row]:
    """Check what can impair a link: the kernel's netem, or the delay line over NFQUEUE."""
    if facts.shaping is None:
        says = "it is unknown whether links can be impaired"
        yield Row("links", "warn", facts.shaping_says or "not tested", says, "lab images && lab doctor")
        return
    able, reasons = facts.shaping, facts.shaping.get("why", {})
    load = MORE_MODULES.get(facts.distribution, "sudo modprobe sch_netem")
    if able.get("netem"):
        yield Row("links", "ok", "netem", "the kernel can delay, drop, duplicate and reorder packets")
    elif able.get("nfqueue"):
        says = "a delay line in user space replaces it (up to 0.6 ms early or late), with a stamp on results"
        yield Row("links", "warn", reasons.get("netem", "no netem"), says, load)
    else:
        found = "; ".join(reasons.get(name, f"no {name}") for name in ("netem", "nfqueue"))
        yield Row("links", "bad", found, "scenarios with links cannot run", load)
    if not able.get("tbf"):
        found = reasons.get("tbf", "no tbf")
        yield Row("link rate", "warn", found, "links with a rate cannot run", "sudo modprobe sch_tbf")


def syscalls(facts: Facts) -> Iterator[Row]:
    """Check whether bpf(2) may count system calls: root, or CAP_BPF and CAP_PERFMON (capabilities(7))."""
    if facts.syscalls_says is None:
        yield Row("system calls", "ok", "counted by BPF", "each model is verified by its system calls")
    else:
        says = "no system calls per request, and I/O models cannot be verified by them"
        yield Row("system calls", "warn", facts.syscalls_says, says, "sudo lab run …   (as root)")


def real_time(facts: Facts) -> Iterator[Row]:
    """Check whether engines and delay lines may run in the real-time class (sched(7))."""
    if facts.real_time_says is None:
        says = "engines and delay lines do not wait for other processes"
        yield Row("real-time class", "ok", "permitted", says)
    else:
        says = "other processes may delay engines and delay lines; results are stamped with it"
        yield Row("real-time class", "warn", facts.real_time_says, says, "sudo lab run …   (as root)")


def io_uring(facts: Facts) -> Iterator[Row]:
    """Check whether io_uring_setup(2) is allowed: kernel.io_uring_disabled, or an outer seccomp filter."""
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
    """Check descriptors, threads, ports and connection tracking: what 10,000 connections need."""
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
        "enough for 10,000 threads, one per connection" if fits else "too few for 10,000 threads",
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
        yield Row("ports", "warn", found, "too few client ports for 10,000 connections (--runtime local)",
                  'sudo sysctl -w net.ipv4.ip_local_port_range="1024 65535"')  # fmt: skip


def _conntrack(facts: Facts) -> Iterator[Row]:
    most, used = facts.host.conntrack_max, facts.conntrack_used or 0
    if most is None:
        yield Row("conntrack", "ok", "not loaded", "no limit: connections are not tracked")
        return
    fits = most - used > 2 * CONNECTIONS
    yield Row(
        "conntrack", "ok" if fits else "warn", f"{used:,} of {most:,} entries in use",
        "enough for all connections" if fits else "the kernel may silently drop new connections",
        "" if fits else "sudo sysctl -w net.netfilter.nf_conntrack_max=262144",
    )  # fmt: skip


def machine(facts: Facts) -> Iterator[Row]:
    """Check CPUs, memory and disk."""
    cpus = len(facts.host.cpus)
    if cpus < 2:
        says = "server and swarm share it: every result will be suspect"
        yield Row("cpus", "warn", f"{cpus}", says, "taskset -p 0xffffffff $$   (if the shell is restricted)")
    else:
        yield Row("cpus", "ok", f"{cpus}", "the server has CPUs of its own")
    free = facts.host.memory_available_bytes
    level: Level = "bad" if free < FEW_MEMORY_BYTES else "warn" if free < MEMORY_BYTES else "ok"
    says = "enough for 10,000 connections" if level == "ok" else "large scenarios will be refused"
    yield Row("memory", level, f"{show_bytes(free)} available", says,
              "" if level == "ok" else "ps -eo rss,comm --sort=-rss | head   (the largest)")  # fmt: skip
    for where, left in facts.disk_free_bytes.items():
        level = "bad" if left < FEW_DISK_BYTES else "warn" if left < DISK_BYTES else "ok"
        yield Row(f"disk: {where}", level, f"{show_bytes(left)} free",
                  f"enough for {DISK_HOLDS[where]}" if level == "ok" else "the disk may fill up during a run",
                  "" if level == "ok" else "lab clean --keep 5")  # fmt: skip


def network(facts: Facts) -> Iterator[Row]:
    """Check the address pool of the internal networks against the routes of this host."""
    if facts.pool_taken:
        yield Row("network pool", "warn", f"{facts.pool} overlaps {', '.join(facts.pool_taken[:3])}",
                  "these subnets are not used; without a free one a run fails",
                  "set network-pool in lab.yaml, such as 10.200.0.0/16")  # fmt: skip
    elif facts.pool:
        yield Row("network pool", "ok", facts.pool, "no route of this host overlaps it")


def leftovers(facts: Facts) -> Iterator[Row]:
    """Check for what killed runs left."""
    if facts.left:
        says = "the next run removes them"
        found = f"from dead runs: {', '.join(facts.left[:3])}"
        yield Row("left-overs", "warn", found, says, "lab down --all")


CHECKS: tuple[Callable[[Facts], Iterator[Row]], ...] = (
    python, engine, cgroup, links, syscalls, real_time, io_uring, limits, machine, network, leftovers,
)  # fmt: skip


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
