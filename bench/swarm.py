"""What does a request cost the generator? The engine beside wrk, FastHttpUser and HttpUser, in one run.

A C server on one CPU, one generator at a time on the other; peers take turns in shuffled rounds, so that a
busy moment of the machine hits all of them. Figures are medians over the rounds, ratios are taken within a
round. Then the same server with known delays: what the engine and wrk record of them.

Needs gcc and wrk (Debian: apt-get install gcc wrk). `--check` makes one short round, to see that all of it
works.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results" / "bench" / "swarm.json"
CONNECTIONS = (100, 1_000, 10_000)
DELAYS_US = (5_000, 20_000)
STOCK_CONNECTIONS = (100,)  # more greenlets change nothing but the time to make them
DEADLINE_S = 120.0

sys.path[:0] = [str(HERE.parent), str(HERE.parent / "images")]
from swarm.histogram import Counts, merge, quantile_us, unpack  # noqa: E402

from testbed.processes import environment  # noqa: E402


@dataclass(frozen=True)
class Cost:
    """What one run of one generator cost and brought."""

    cpu_us_per_request: float
    requests_per_s: float


Peer = Callable[[int, int, float], Cost]  # port, connections, seconds


def main(arguments: list[str]) -> int:
    """Measure, print the table, write the results."""
    options = parsed(arguments)
    for tool in ("gcc", "wrk"):
        if shutil.which(tool) is None:
            print(f"bench swarm: {tool} is not installed (Debian: apt-get install {tool})", file=sys.stderr)
            return 3
    with tempfile.TemporaryDirectory() as folder:
        server = build(Path(folder))
        rows = costs(server, options) + delays(server, options)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(
        json.dumps({"bench": "swarm", "options": vars(options), "rows": rows}, indent=1) + "\n"
    )
    print_table(rows)
    return 0


def parsed(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="swarm", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--connections", type=int, nargs="+", default=list(CONNECTIONS))
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--check", action="store_true", help="one short round")
    options = parser.parse_args(arguments)
    if options.check:
        options.rounds, options.seconds, options.connections = 1, 1.0, [100]
    return options


def build(folder: Path) -> Path:
    """Compile the server."""
    program = folder / "server"
    subprocess.run(["gcc", "-O2", "-o", str(program), str(HERE / "_swarm_server.c")], check=True)
    return program


@contextmanager
def serving(program: Path, delay_us: int = 0) -> Iterator[int]:
    """Run the server on CPU 0 and yield its port."""
    process = subprocess.Popen(
        pinned(0, [str(program), "0", str(delay_us)]), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait(10.0)
        process.stdout.close()


def pinned(cpu: int, command: list[str]) -> list[str]:
    """Return the command on one CPU; on a machine with a single one, there."""
    last = (os.cpu_count() or 1) - 1
    return ["taskset", "-c", str(min(cpu, last)), *command]


# -- the generators


def wrk(port: int, connections: int, seconds: float) -> Cost:
    """Run wrk with one thread; its CPU time is what the kernel booked for the process."""
    output, cpu_s = finished(["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", url(port)])
    found = re.search(r"(\d+) requests in ([0-9.]+)s", output)
    if found is None or "Non-2xx" in output:
        raise SystemExit(f"bench swarm: wrk said {output!r}")
    return Cost(cpu_s / int(found[1]) * 1e6, int(found[1]) / float(found[2]))


def locust(name: str) -> Peer:
    """Return a run of Locust's own users."""

    def run(port: int, connections: int, seconds: float) -> Cost:
        command = [
            sys.executable,
            str(HERE / "_swarm_locust.py"),
            name,
            str(connections),
            str(seconds),
            url(port),
        ]
        output, _ = finished(command)
        figures = json.loads(output.splitlines()[-1])
        if figures["failures"] or not figures["requests"]:
            raise SystemExit(f"bench swarm: {name} failed: {figures}")
        return Cost(figures["cpu_us_per_request"], figures["requests"] / figures["seconds"])

    return run


def engine(port: int, connections: int, seconds: float) -> Cost:
    """Run one engine with a closed load without think time, as wrk does."""
    load = {"executor": "constant-users", "think_time_s": 0}
    measured = [s for s in run_engine(port, connections, load, seconds) if s["phase"] == "measure"]
    answered = sum(second["answered"] for second in measured)
    cpu_s = sum(second["cpu_s"] for second in measured)
    return Cost(cpu_s / answered * 1e6, answered / seconds)


def run_engine(port: int, connections: int, load: dict[str, Any], seconds: float) -> list[dict[str, Any]]:
    """Ramp one engine process, run its load, and return its seconds."""
    given = {
        "target": {"host": "127.0.0.1", "port": port},
        "wire": "http1",
        "users": connections,
        "spawn_rate_per_s": 10_000,
        "load": load,
        "phases": {"warmup_s": 1, "measure_s": seconds},
    }
    command = pinned(1, [sys.executable, "-m", "swarm", "engine", "0"])
    with subprocess.Popen(
        command,
        env=environment(LAB_SWARM=json.dumps(given)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        alarm(process)
        try:
            return driven(process, connections)
        finally:
            process.kill()
            signal.alarm(0)


def driven(process: subprocess.Popen[str], connections: int) -> list[dict[str, Any]]:
    """Say what a worker would say, and collect what the engine tells."""
    assert process.stdin is not None
    assert process.stdout is not None
    seconds: dict[tuple[int, str], dict[str, Any]] = {}
    started = False
    print(json.dumps({"do": "users", "target": connections}), file=process.stdin, flush=True)
    for line in process.stdout:
        record = json.loads(line)
        if record["event"] == "second":
            seconds[record["k"], record["phase"]] = record
        elif record["event"] == "done":
            if record["faults"]:
                raise SystemExit(f"bench swarm: the engine met errors: {record['faults']}")
            return list(seconds.values())
        elif record["event"] == "status" and record["ready"] >= connections and not started:
            started = True
            start = {"do": "start", "at_mono_s": time.monotonic() + 0.2, "position": 0, "of": 1}
            print(json.dumps(start), file=process.stdin, flush=True)
    raise SystemExit("bench swarm: the engine ended without a result")


def finished(command: list[str]) -> tuple[str, float]:
    """Run a generator on CPU 1; return its output and its CPU seconds, children included (wait4(2))."""
    with subprocess.Popen(pinned(1, command), stdout=subprocess.PIPE, text=True) as process:
        alarm(process)
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        signal.alarm(0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"bench swarm: {command[0]} ended with {process.returncode}: {output}")
    return output, usage.ru_utime + usage.ru_stime


def alarm(process: subprocess.Popen[str]) -> None:
    """Kill a process that is not through in time: whoever reads from it then sees its end."""
    signal.signal(signal.SIGALRM, lambda *_: process.kill())
    signal.alarm(int(DEADLINE_S))


def url(port: int) -> str:
    """Return the server's address."""
    return f"http://127.0.0.1:{port}/"


# -- the measurements


def costs(server: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure CPU per request and requests a second, peers shuffled within every round."""
    rows: list[dict[str, Any]] = []
    shuffled = random.Random(options.seed)
    for connections in options.connections:
        peers: dict[str, Peer] = {"engine": engine, "wrk": wrk}
        if connections in STOCK_CONNECTIONS:
            peers |= {"FastHttpUser": locust("FastHttpUser"), "HttpUser": locust("HttpUser")}
        rounds = [
            one_round(server, peers, connections, options.seconds, shuffled) for _ in range(options.rounds)
        ]
        for peer in peers:
            for figure, unit in (("cpu_us_per_request", "us"), ("requests_per_s", "1/s")):
                rows.append(row(rounds, peer, connections, figure, unit))
    return rows


def one_round(
    server: Path, peers: dict[str, Peer], connections: int, seconds: float, shuffled: random.Random
) -> dict[str, Cost]:
    """Run every peer once, in a new order, each against a fresh server."""
    order = list(peers)
    shuffled.shuffle(order)
    found: dict[str, Cost] = {}
    for peer in order:
        with serving(server) as port:
            found[peer] = peers[peer](port, connections, seconds)
    return found


def row(rounds: list[dict[str, Cost]], peer: str, connections: int, figure: str, unit: str) -> dict[str, Any]:
    """Return one row of the table: a peer's figure and the engine's ratio to it."""
    values = [getattr(each[peer], figure) for each in rounds]
    ratios = [getattr(each["engine"], figure) / getattr(each[peer], figure) for each in rounds]
    return {
        "name": f"{figure} at {connections} connections",
        "figure": median(values),
        "unit": unit,
        "peer": peer,
        "ratio": median(ratios),  # engine to peer
        "spread": [min(ratios), max(ratios)],
    }


def delays(server: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Compare what the engine and wrk record of known delays, less what they record of none."""
    rows = []
    for delay_us in DELAYS_US:
        for name, recorded in (("engine", engine_p50_us), ("wrk", wrk_p50_us)):
            found = []
            for _ in range(options.rounds):
                with serving(server) as quick, serving(server, delay_us) as slow:
                    found.append(recorded(slow, options.seconds) - recorded(quick, options.seconds))
            off = [value / delay_us for value in found]
            known = {"name": f"recorded p50 of {delay_us} us", "unit": "us", "peer": name}
            rows.append(
                known | {"figure": median(found), "ratio": median(off), "spread": [min(off), max(off)]}
            )
    return rows


def engine_p50_us(port: int, seconds: float) -> float:
    """Return the engine's median service time over 10 connections in a closed loop."""
    service: Counts = {}
    for second in run_engine(port, 10, {"executor": "constant-users", "think_time_s": 0}, seconds):
        if second["phase"] == "measure":
            merge(service, unpack(second["service"]))
    return float(quantile_us(service, 0.5) or 0)


def wrk_p50_us(port: int, seconds: float) -> float:
    """Return wrk's median latency over 10 connections."""
    command = ["wrk", "-t1", "-c10", f"-d{max(1, round(seconds))}s", "--latency", url(port)]
    output, _ = finished(command)
    found = re.search(r"50%\s+([0-9.]+)(us|ms)", output)
    if found is None:
        raise SystemExit(f"bench swarm: wrk said {output!r}")
    return float(found[1]) * (1000 if found[2] == "ms" else 1)


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print the rows for people."""
    print(f"{'':44}{'peer':>14}{'figure':>12}  {'engine/peer':>12}  {'spread':>13}")
    for each in rows:
        low, high = each["spread"]
        print(
            f"{each['name']:44}{each['peer']:>14}{each['figure']:12.1f} {each['unit']:3}{each['ratio']:9.2f}"
            f"  {low:6.2f}–{high:.2f}"
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
