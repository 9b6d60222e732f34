"""The arguments of the engine's calls: how a node becomes a container, all locked down alike. Pure."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lab.common import scheduling
from lab.common.errors import UsageError
from lab.common.short import shortened
from lab.plan.topology import DEFAULT_MEMORY_BYTES, Node, Topology

USER = "10001:10001"
HELPER_USER = "0:0"
HELPER_CAPABILITIES = ("NET_ADMIN",)
# A delay line that waits for a CPU delays packets too long: with 16 times the usual shares it runs first.
HELPER_CPU_SHARES = 16 * 1024
# Where a node sets none: a limit that no healthy node reaches, so that a runaway one cannot harm the host.
DEFAULT_PIDS = 2048
CPU_PERIOD_US = 100_000
IO_URING_CALLS = ("io_uring_enter", "io_uring_register", "io_uring_setup")
LOG_OPTIONS = {"max-size": "8m", "max-file": "2"}
TRIAL_LENGTH = 63
# Keyword arguments of a function of docker-py, whose names and types are the Engine API's.
Arguments = dict[str, Any]
NAME = re.compile(r"^[a-z0-9][a-z0-9._-]{0,62}$")


@dataclass(frozen=True)
class Place:
    """A container's name, image and labels, and the network or namespace it starts in."""

    container: str
    image: str
    network_mode: str
    labels: Mapping[str, str]
    seccomp: str
    rtprio: bool = False  # the limit that lets its processes ask for the real-time class


def container_name(topology: Topology, node: str) -> str:
    """Return the container's name. Raises UsageError where a part is not a valid name.

    A trial's id may contain swept values (`poll,users=1000/1`): they are replaced or shortened.
    """
    for part in (topology.run, node):
        if not NAME.match(part.lower()):
            raise UsageError(f"'{part}' is not a valid name: at most 63 letters, digits, '.', '_' and '-'")
    return name_prefix(topology.run, topology.trial) + node


def name_prefix(run: str, trial: str) -> str:
    """Return how the names of a trial's containers and networks begin."""
    short = shortened(trial, TRIAL_LENGTH)
    return f"lab-{run}-{re.sub(r'[^A-Za-z0-9._-]', '-', short)}-"


def host_config(node: Node, place: Place) -> Arguments:
    """Return the arguments of docker-py's `create_host_config`: no privileges, a read-only root.

    Sources: docker-run(1), capabilities(7).
    """
    limits = node.limits
    memory = limits.memory_bytes or DEFAULT_MEMORY_BYTES
    helper = node.role == "nettools"
    capabilities = node.capabilities or (HELPER_CAPABILITIES if helper else ())
    tmpfs = {"/tmp": "rw,nosuid,nodev,noexec,size=256m,mode=1777"}
    config: Arguments = {
        "network_mode": place.network_mode,
        "cap_drop": ["ALL"],
        "cap_add": list(capabilities),
        "security_opt": ["no-new-privileges:true", f"seccomp={place.seccomp}"],
        "read_only": True,
        "tmpfs": {**tmpfs, "/run": "rw,nosuid,nodev,noexec,size=16m"} if helper else tmpfs,
        "pids_limit": limits.pids or DEFAULT_PIDS,
        "mem_limit": memory,
        "memswap_limit": memory,  # the same value: no swap, so that memory pressure is visible
        "init": True,  # PID 1 ignores SIGTERM unless it handles it: tini forwards signals and reaps children
        "restart_policy": {"Name": "no"},
        "log_config": {"Type": "json-file", "Config": LOG_OPTIONS},
    }
    if helper:
        config["cpu_shares"] = HELPER_CPU_SHARES
    if node.cpu_set:
        config["cpuset_cpus"] = node.cpu_set
    if limits.cpus:
        # not NanoCpus: the engine cannot change such a limit by a quota later
        config |= {"cpu_period": CPU_PERIOD_US, "cpu_quota": round(limits.cpus * CPU_PERIOD_US)}
    ulimits = {"nofile": limits.nofile, "rtprio": scheduling.PRIORITY if place.rtprio else None}
    config["ulimits"] = [{"Name": name, "Soft": n, "Hard": n} for name, n in ulimits.items() if n]
    if node.sysctls and not node.joins:
        config["sysctls"] = dict(node.sysctls)  # per network namespace: a joining node has none
    return config


def container_config(node: Node, place: Place, config: Arguments) -> Arguments:
    """Return the arguments of docker-py's `create_container`, except the networking."""
    spec: Arguments = {
        "image": place.image,
        "name": place.container,
        "command": list(node.argv) or None,
        "environment": node.environment,
        "user": HELPER_USER if node.role == "nettools" else USER,
        "labels": dict(place.labels),
        "host_config": config,
    }
    if not node.joins:
        spec["hostname"] = node.name
    return spec


@cache
def seccomp_profile(io_uring: bool) -> str:
    """Return the lab's seccomp profile as JSON text, with or without the io_uring calls."""
    profile = json.loads((Path(__file__).with_name("seccomp.json")).read_text(encoding="utf-8"))
    if io_uring:
        profile["syscalls"].append({"names": list(IO_URING_CALLS), "action": "SCMP_ACT_ALLOW"})
    return json.dumps(profile)


def free_subnets(pool: str, in_use: Iterable[str], start: int) -> Iterator[str]:
    """Yield the /24 subnets of `pool` that overlap none in use, beginning at number `start`, each once.

    Runs at the same time begin at different numbers, so that they rarely ask for the same subnet.
    """
    taken = [network for text in in_use if (network := _ipv4(text)) is not None]
    blocks = list(ipaddress.IPv4Network(pool).subnets(new_prefix=24))
    for index in range(len(blocks)):
        block = blocks[(start + index) % len(blocks)]
        if not any(block.overlaps(other) for other in taken):
            yield str(block)


def route_key(subnet: str) -> str:
    """Return a subnet's address as /proc/net/route prints it: hexadecimal, in the host's byte order."""
    return ipaddress.IPv4Network(subnet).network_address.packed[::-1].hex().upper()


def host_routes(table: str) -> list[str]:
    """Return the subnets that this host routes, from the text of /proc/net/route, default route excluded."""
    found = []
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 7 and fields[1] != "00000000":
            address = ipaddress.IPv4Address(bytes.fromhex(fields[1])[::-1])
            mask = ipaddress.IPv4Address(bytes.fromhex(fields[7])[::-1])
            found.append(f"{address}/{mask}")
    return found


def _ipv4(text: str) -> ipaddress.IPv4Network | None:
    try:
        return ipaddress.IPv4Network(text, strict=False)
    except ValueError:
        return None
