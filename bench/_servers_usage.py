"""What a server uses: CPU time and memory of all its processes, read from /proc."""

from __future__ import annotations

import os
import socket
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
DEADLINE_S = 60.0


def memory_per_connection(port: int, group: int, connections: int) -> float:
    """Return by how much that many idle connections, each served once, make the server grow."""
    before = pss_bytes(group)
    held: list[socket.socket] = []
    try:
        for number in range(connections):
            held.append(socket.create_connection((f"127.0.0.{1 if number < 20000 else 2}", port), DEADLINE_S))
        for one in held:
            one.sendall(b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n")
        for one in held:
            if not one.recv(4096):
                raise ConnectionError(f"a connection of {connections} was closed unanswered")
        return (pss_bytes(group) - before) / connections
    finally:
        for one in held:
            one.close()


def available_bytes() -> int:
    """Return how much memory could be had now without swapping (proc(5), meminfo)."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))


def cpu_s(group: int) -> float:
    """Return the CPU seconds of a server, children that it has waited for included."""
    return sum(sum(map(int, fields[11:15])) for fields in family(group).values()) / TICKS


def pss_bytes(group: int) -> int:
    """Return the memory of a server, shared pages divided among their owners (proc(5), smaps_rollup)."""
    total = 0
    for pid in family(group):
        for line in text(Path(f"/proc/{pid}/smaps_rollup")).splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def family(group: int) -> dict[int, list[str]]:
    """Return the processes of a server's session: by pid, the fields of proc(5)'s stat from the state on."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        fields = text(path).rpartition(")")[2].split()
        if fields and int(fields[3]) == group and fields[0] != "Z":
            found[int(path.parent.name)] = fields
    return found


def text(path: Path) -> str:
    """Return a file of /proc; nothing when its process has ended meanwhile."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
