"""What does a request cost each I/O model? All of them beside C epoll, nginx, plain asyncio and uvloop.

One server at a time on CPU 0, wrk on the last CPU, peers in shuffled rounds, so that a busy moment of the
machine hits all of them. CPU is what the kernel booked for the server's processes during wrk's run,
accepts included. Figures are medians over the rounds. Ratios are taken within a round: to plain uvloop, which
has neither parser nor counts, and to the model `uvloop`, which has the same of both as all models. Memory is
what idle connections add (Pss, all processes; first round): without the kernel's socket buffers.

A model is left out, and named, where its known limit (the manifest has it) is below the number of
connections, or where this machine's free memory is not twice what it plans for them. All of it takes about
ten minutes.

Needs gcc, wrk and nginx (Debian: apt-get install gcc wrk nginx-light). `--check` makes one short round with a
few peers, to see that all of it works.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results" / "bench" / "servers.json"
PLAN = {100: (5, 2), 1_000: (3, 2), 10_000: (3, 3)}  # connections: rounds, and seconds of wrk in each
DESCRIPTORS_BESIDE = 64  # what a server holds besides its connections
CPUS = sorted(os.sched_getaffinity(0))

sys.path[:0] = [str(HERE.parent), str(HERE.parent / "images"), str(HERE.parent / "images/server")]
from iomodels import manifest  # noqa: E402

from bench._servers_rows import REFERENCE, SAME_WORK, Cost, print_table, rows_of  # noqa: E402
from bench._servers_usage import DEADLINE_S, available_bytes, cpu_s, memory_per_connection  # noqa: E402
from testbed.processes import environment, model_command  # noqa: E402


class Failure(Exception):
    """A server did not do what was asked; says which and what."""


@dataclass(frozen=True)
class Peer:
    """A server to measure: its command, and how to read its port from a line of its output."""

    command: list[str]
    port_of: Callable[[str], int | None]
    most: int = 1 << 20
    planned_bytes: int = 0

    def why_not(self, connections: int) -> str:
        """Return why it cannot hold so many connections; nothing if it can."""
        if self.most < connections + DESCRIPTORS_BESIDE:
            return f"it serves at most {self.most}"
        if self.planned_bytes * connections * 2 > available_bytes():
            return (
                f"it plans {self.planned_bytes * connections >> 20} MiB: too much for this machine's memory"
            )
        return ""


def main(arguments: list[str]) -> int:
    """Measure, print the table, write the results."""
    options = parsed(arguments)
    for tool, package in (
        ("gcc", "gcc"),
        ("wrk", "wrk"),
        ("nginx", "nginx-light"),
        ("taskset", "util-linux"),
    ):
        if shutil.which(tool) is None:
            print(f"bench servers: no {tool} here (Debian: apt-get install {package})", file=sys.stderr)
            return 3
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as folder:
        peers = all_peers(Path(folder), options.only)
        rows, failed = [], False
        for count in options.connections:
            rounds, seconds = PLAN.get(count, PLAN[100])
            rounds, seconds = options.rounds or rounds, options.seconds or seconds
            found, failures = measured(peers, count, rounds, seconds, random.Random(options.seed))
            rows += found
            failed = failed or failures
    if not options.check:
        write(rows, options)
    print_table(rows)
    return 1 if failed else 0


def write(rows: list[dict[str, Any]], options: argparse.Namespace) -> None:
    """Write the results where reports look for them."""
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(
        json.dumps({"bench": "servers", "options": vars(options), "rows": rows}, indent=1) + "\n"
    )


def parsed(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="servers", description=__doc__)
    parser.add_argument("--rounds", type=int, help="by default more with few connections")
    parser.add_argument("--seconds", type=int, help="of wrk, per server and round; by default 2 or 3")
    parser.add_argument("--connections", type=int, nargs="+", default=list(PLAN))
    parser.add_argument("--only", nargs="+", help="peers by name; the two references always run")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--check", action="store_true", help="one short round with a few peers, not written")
    options = parser.parse_args(arguments)
    if options.check:
        options.rounds, options.seconds, options.connections = 1, 1, [50]
        options.only = options.only or [
            "C epoll",
            "nginx",
            "plain asyncio",
            "epoll_lt",
            "process",
            "io_uring",
        ]
    return options


# -- the servers


def all_peers(folder: Path, only: list[str] | None) -> dict[str, Peer]:
    """Return the servers by name, those asked for and the references."""
    program = folder / "server"
    subprocess.run(["gcc", "-O2", "-o", str(program), str(HERE / "_swarm_server.c")], check=True)
    plain = [sys.executable, str(HERE / "_servers_plain.py")]
    peers = {
        "C epoll": Peer([str(program), "0", "0"], int),
        "nginx": nginx(folder),
        "plain asyncio": Peer([*plain, "asyncio"], int),
        REFERENCE: Peer([*plain, "uvloop"], int),
    }
    for name, entry in manifest.entries().items():
        limits: Any = entry.get("limits", {})
        if "tcp" in manifest.load()[name].transports:
            most = min(limits.get("served_at_once", 1 << 20), limits.get("max_open", 1 << 20))
            planned_bytes = int(str(entry["memory_bytes_per_connection"]))
            peers[name] = Peer(model_command(name, "--backlog", "8192"), ready_port, most, planned_bytes)
    unknown = set(only or ()) - set(peers)
    if unknown:
        raise SystemExit(f"bench servers: no {', '.join(unknown)}; there are {', '.join(peers)}")
    always = (REFERENCE, SAME_WORK)
    return {name: peer for name, peer in peers.items() if not only or name in (*only, *always)}


def ready_port(line: str) -> int | None:
    """Return the port of a ``ready`` event."""
    port: int | None = json.loads(line).get("port")
    return port


def nginx(folder: Path) -> Peer:
    """Return nginx with one worker and the same answer; it cannot tell its port, so one is chosen."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    text = f"""
        daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr crit;
        worker_rlimit_nofile 20000;
        events {{ worker_connections 19000; }}
        http {{
            access_log off; default_type text/plain; keepalive_requests 1000000000; tcp_nodelay on;
            client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
            uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
            server {{
                listen 127.0.0.1:{port} backlog=8192;
                location / {{ return 200 "Hello, World!"; }}
            }}
        }}"""
    (folder / "nginx.conf").write_text(text)
    return Peer(["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")], lambda _: port)


@contextmanager
def serving(peer: Peer) -> Iterator[tuple[int, int]]:
    """Run a server on CPU 0; yield its port and its process group."""
    quiet = peer.command[0] == "nginx"
    process = subprocess.Popen(
        ["taskset", "-c", str(CPUS[0]), *peer.command],
        env=environment(),
        stdout=subprocess.DEVNULL if quiet else subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    drain = None
    try:
        lines = process.stdout or [""]
        port = next(found for line in lines if (found := peer.port_of(line)) is not None)
        wait_until_there(port)
        if process.stdout is not None:  # its statistics must not fill the pipe
            drain = subprocess.Popen(["cat"], stdin=process.stdout, stdout=subprocess.DEVNULL)
            process.stdout.close()
        yield port, process.pid
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(DEADLINE_S)
        if drain is not None:
            drain.wait(DEADLINE_S)


def wait_until_there(port: int) -> None:
    """Wait until the port answers; fail after the deadline."""
    end = time.monotonic() + DEADLINE_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
            return
        except OSError as error:
            if time.monotonic() > end:
                raise Failure(f"nothing listens on {port}: {error}") from error
            time.sleep(0.02)


# -- one measurement


def cost(peer: Peer, connections: int, seconds: int, look_at_memory: bool) -> Cost:
    """Measure one server: idle connections for the memory if asked for, then wrk for the rest."""
    with serving(peer) as (port, group):
        memory = memory_per_connection(port, group, connections) if look_at_memory else None
        before = cpu_s(group)
        command = [
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{seconds}s",
            "--timeout",
            "20s",
            f"http://127.0.0.1:{port}/",
        ]
        done = subprocess.run(
            ["taskset", "-c", str(CPUS[-1]), *command],
            capture_output=True,
            text=True,
            timeout=seconds + DEADLINE_S,
        )
        spent_s = cpu_s(group) - before
    found = re.search(r"(\d+) requests in ([0-9.]+)s", done.stdout)
    errors = re.search(r"(Socket errors|Non-2xx).*", done.stdout)
    if done.returncode or found is None or not int(found[1]):
        raise Failure(f"wrk said {done.stdout!r} {done.stderr!r}")
    if errors is not None:
        print(f"{' '.join(peer.command[-6:])}: {errors[0]}", file=sys.stderr)
    return Cost(spent_s / int(found[1]) * 1e6, int(found[1]) / float(found[2]), memory)


# -- all of them


def measured(
    peers: dict[str, Peer], connections: int, rounds: int, seconds: int, shuffled: random.Random
) -> tuple[list[dict[str, Any]], bool]:
    """Measure every peer that can hold so many connections, in shuffled rounds.

    Returns their rows, and whether a peer failed; it has no rows then.
    """
    able = list(peers)
    for name in peers:
        if why := peers[name].why_not(connections):
            print(f"{connections} connections without {name}: {why}")
            able.remove(name)
    costs: list[dict[str, Cost]] = []
    failed = set()
    for number in range(rounds):
        costs.append({})
        shuffled.shuffle(able)
        for name in able:
            try:
                costs[-1][name] = cost(peers[name], connections, seconds, look_at_memory=number == 0)
            except (Failure, OSError, StopIteration, subprocess.TimeoutExpired) as failure:
                print(f"{name} at {connections} connections failed: {failure!r}", file=sys.stderr)
                failed.add(name)
        able = [name for name in able if name not in failed]
    return [row for name in peers if name in able for row in rows_of(costs, name, connections)], bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
