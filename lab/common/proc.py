"""Processes of this host, read from /proc (proc(5)): which run, which belong together, their control group.

The kernel reuses pids: only a pid together with its start time identifies a process.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")


def start_ticks(pid: int) -> int | None:
    """Return a process's start time in clock ticks since boot; None if there is none, or only a zombie."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    # The command, in parentheses, may contain blanks and parentheses itself: count from the last one.
    fields = text[text.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else int(fields[19])


def boot_id() -> str:
    """Return the id of this boot of the kernel."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def pid_namespace() -> str:
    """Return this process's pid namespace, such as `4026531836`: pids are valid inside it only."""
    return str((PROC / "self/ns/pid").readlink()).strip("pid:[]")


def pids() -> Iterator[int]:
    """Yield every process that is visible here."""
    for entry in os.scandir(PROC):
        if entry.name.isdigit():
            yield int(entry.name)


def marked(variable: str, value: str) -> list[int]:
    """Return the processes that were started with `variable=value` in their environment, oldest first.

    Environments are inherited: this finds descendants too, in whatever session or group they are.
    """
    wanted = f"{variable}={value}".encode()
    found: list[tuple[int, int]] = []
    for pid in pids():
        try:
            environment = (PROC / str(pid) / "environ").read_bytes()
        except OSError:
            continue  # it has ended, or belongs to another user: not one of ours
        if wanted in environment.split(b"\0") and (started := start_ticks(pid)) is not None:
            found.append((started, pid))
    return [pid for _, pid in sorted(found)]


def kill_marked(variable: str, value: str, deadline_s: float = 5.0) -> list[int]:
    """Send SIGKILL to every marked process until none is left; return those that survive the deadline."""
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
    """Return the control group of a process (cgroups(7)): that of v1's memory controller, else v2's."""
    try:
        lines = (PROC / str(pid) / "cgroup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return None
    paths = {tuple(line.split(":", 2)[:2]): line.split(":", 2)[2] for line in lines}
    v1 = next((path for (_, controllers), path in paths.items() if "memory" in controllers.split(",")), None)
    return v1 if v1 is not None else paths.get(("0", ""))


def cgroup_pids(path: str) -> list[int]:
    """Return the processes of a control group, oldest first; empty where its directory does not exist."""
    for root in ("/sys/fs/cgroup/memory", "/sys/fs/cgroup", "/sys/fs/cgroup/unified"):
        file = Path(root + path) / "cgroup.procs"
        if file.is_file():
            numbers = [int(line) for line in file.read_text().split()]
            started = [(ticks, pid) for pid in numbers if (ticks := start_ticks(pid)) is not None]
            return [pid for _, pid in sorted(started)]
    return []


def cpu_group(pid: int) -> str | None:
    """Return the control group of a process in the hierarchy of v1's cpu controller; None without one."""
    try:
        lines = (PROC / str(pid) / "cgroup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return None
    each = (line.split(":", 2) for line in lines)
    return next((path for _, controllers, path in each if "cpu" in controllers.split(",")), None)


def namespace_pid(pid: int) -> int | None:
    """Return the id that a process has in its own pid namespace, the innermost one; None if there is none."""
    try:
        text = (PROC / str(pid) / "status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return next((int(line.split()[-1]) for line in text.splitlines() if line.startswith("NSpid:")), None)


def interface_to(pid: int, network_hex: str) -> str | None:
    """Return the interface whose route leads to a network, in the namespace of `pid` (see below)."""
    try:
        return route_interface((PROC / str(pid) / "net/route").read_text(), network_hex)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None


def route_interface(table: str, network_hex: str) -> str | None:
    """Return the interface of the route to `network_hex`, from the text of /proc/net/route."""
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 1 and fields[1].upper() == network_hex.upper():
            return fields[0]
    return None
