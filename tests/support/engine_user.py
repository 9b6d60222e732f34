"""Makes every kind of call that a command makes to its engine, and says "ok" or the one clear error.

usage: DOCKER_HOST=… python -m tests.support.engine_user RUN LOGS
"""

from __future__ import annotations

import sys
from pathlib import Path

from lab.common.errors import HostCannot, LabError
from lab.engine import connect, images
from lab.plan.topology import DATA, Network, Node, Topology
from lab.runtime import cleanup
from lab.runtime.docker import DockerRuntime

NODE = 'import time; print(\'{"event": "ready"}\', flush=True); time.sleep(600)'


def use(run: str, logs: Path) -> None:
    """Find the engine, reap, build, bring up, ask, do, take down."""
    found = connect.connect()
    if found is None:
        raise HostCannot("no Docker engine answers")
    connect.facts(found)
    cleanup.reap(found, lambda _: None)
    tags = images.build(found, ["server"], lambda _: None)
    node = Node("one", "server", "server", argv=("python", "-c", NODE), networks=(DATA,))
    with DockerRuntime(found, tags).up(Topology(run, "t", (node,), (Network(DATA),)), logs) as deployment:
        deployment.wait_event("one", "ready", 10)
        deployment.interface("one", DATA)
        deployment.exec("one", ["true"], 10)
        deployment.pause("one")
        deployment.unpause("one")
        deployment.stop("one", 2)
    found.close()


if __name__ == "__main__":
    try:
        use(sys.argv[1], Path(sys.argv[2]))
    except LabError as error:
        print(str(error).split("; its last lines:")[0])
        sys.exit(error.exit_code)
    print("ok")
