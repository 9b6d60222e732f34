"""A stand-in for an orchestrator, to be killed: brings three nodes up, says `up`, stays, takes them down.

usage: python -m tests.support.orchestrator RUNTIME RUN LOGS STAY_S [IMAGE]
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import docker

from lab.plan.topology import CONTROL, DATA, Network, Node, Topology
from lab.runtime import Runtime
from lab.runtime.docker import DockerRuntime
from lab.runtime.local import LocalRuntime

# A node with a child that left its session: what a group kill alone would miss.
NODE = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    print('{"event": "ready"}', flush=True)
time.sleep(600)
"""


def topology(run: str) -> Topology:
    """Three nodes on two networks."""
    nodes = [
        Node(name, "server", "server", argv=("python", "-c", NODE), networks=(DATA, CONTROL))
        for name in "abc"
    ]
    return Topology(run, "trial-1", tuple(nodes), (Network(CONTROL), Network(DATA)))


def main() -> None:
    """Do what the arguments say."""
    kind, run, logs, stay_s, *image = sys.argv[1:]
    runtime: Runtime = LocalRuntime()
    if kind == "docker":
        runtime = DockerRuntime(docker.from_env(version="auto", timeout=60), {"server": image[0]})
    print("begun", flush=True)
    with runtime.up(topology(run), Path(logs)) as deployment:
        for name in "abc":
            deployment.wait_event(name, "ready", 20)
        print("up", flush=True)
        time.sleep(float(stay_s))
    print("down", flush=True)


if __name__ == "__main__":
    main()
