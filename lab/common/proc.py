"""This host's processes, as /proc tells of them (proc(5)): who lives, who is whose, which control group.

A pid alone names nobody for long, because it is used again; a pid with its start time does.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")


def start_ticks(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None where there is none, or only a zombie."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    # The command, in parentheses, may hold blanks and parentheses itself: count from the last one.
    fields = text[text.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else int(fields[19])


def boot_id() -> str:
    """This boot of this kernel."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def pid_namespace() -> str:
    """The namespace in which pids mean what they say here, such as `4026531836`."""
    return str((PROC / "self/ns/pid").readlink()).strip("pid:[]")


def pids() -> Iterator[int]:
    """Every process that can be seen."""
    for entry in os.scandir(PROC):
        if entry.name.isdigit():
            yield int(entry.name)


def marked(variable: str, value: str) -> list[int]:
    """The living processes that were started with `variable=value` in their environment, the oldest first.

    Environments are inherited, so this finds descendants too, whatever session or group they moved to.
    """
    wanted = f"{variable}={value}".encode()
    found: list[tuple[int, int]] = []
    for pid in pids():
        try:
            environment = (PROC / str(pid) / "environ").read_bytes()
        except OSError:
            continue  # it ended meanwhile, or it is another user's: not one of ours
        if wanted in environment.split(b"\0") and (started := start_ticks(pid)) is not None:
            found.append((started, pid))
    return [pid for _, pid in sorted(found)]


def kill_marked(variable: str, value: str, deadline_s: float = 5.0) -> list[int]:
    """SIGKILL every marked process until none is left. Returns those that outlived the deadline."""
    until = time.monotonic() + deadline_s
    while left := marked(variable, value):
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if time.monotonic() > until:
            return left
        time.sleep(0.01)
    return []


def cgroup_path(pid: int) -> str | None:
    """The process's control group below the hierarchy (cgroups(7)): v1's memory controller's, else v2's."""
    try:
        lines = (PROC / str(pid) / "cgroup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return None
    paths = {tuple(line.split(":", 2)[:2]): line.split(":", 2)[2] for line in lines}
    v1 = next((path for (_, controllers), path in paths.items() if "memory" in controllers.split(",")), None)
    return v1 if v1 is not None else paths.get(("0", ""))


def cgroup_pids(path: str) -> list[int]:
    """The processes in a control group, the oldest first; empty where its directory cannot be found."""
    for root in ("/sys/fs/cgroup/memory", "/sys/fs/cgroup", "/sys/fs/cgroup/unified"):
        file = Path(root + path) / "cgroup.procs"
        if file.is_file():
            numbers = [int(line) for line in file.read_text().split()]
            started = [(ticks, pid) for pid in numbers if (ticks := start_ticks(pid)) is not None]
            return [pid for _, pid in sorted(started)]
    return []


def interface_to(pid: int, network_hex: str) -> str | None:
    """The interface whose route leads to a network, in the namespace of `pid` (see `route_interface`)."""
    try:
        return route_interface((PROC / str(pid) / "net/route").read_text(), network_hex)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None


def route_interface(table: str, network_hex: str) -> str | None:
    """The interface of the route to `network_hex`, as the kernel prints it, in a /proc/net/route."""
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 1 and fields[1].upper() == network_hex.upper():
            return fields[0]
    return None
