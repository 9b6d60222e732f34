"""Locust's own users as a peer of the swarm's benchmark: one process, no master.

usage: _swarm_locust.py CLASS USERS SECONDS URL. Prints one JSON object: requests, seconds,
cpu_us_per_request, failures; counted from the moment all users run.
"""

from __future__ import annotations

import json
import sys
import time

import gevent
import locust
from locust.env import Environment


def main(arguments: list[str]) -> int:
    """Run `USERS` users that ask without a pause."""
    name, users, seconds, url = arguments[0], int(arguments[1]), float(arguments[2]), arguments[3].rstrip("/")

    @locust.task
    def hello(self):  # type: ignore[no-untyped-def]
        self.client.get("/")

    user = type(name + "Peer", (getattr(locust, name),), {"tasks": [hello], "host": url})
    environment = Environment(user_classes=[user], catch_exceptions=False)
    runner = environment.create_local_runner()
    runner.start(users, spawn_rate=users)
    deadline_s = time.monotonic() + 60.0
    while runner.user_count < users:
        if time.monotonic() > deadline_s:
            print(f"only {runner.user_count} of {users} users run after a minute", file=sys.stderr)
            return 1
        gevent.sleep(0.05)
    gevent.sleep(1.0)  # their connections
    total = environment.stats.total
    requests, failures = total.num_requests, total.num_failures
    cpu_s, at_s = time.process_time(), time.monotonic()
    gevent.sleep(seconds)
    requests, failures = total.num_requests - requests, total.num_failures - failures
    cpu_s, took_s = time.process_time() - cpu_s, time.monotonic() - at_s
    figures = {"requests": requests, "seconds": took_s, "cpu_us_per_request": cpu_s / max(1, requests) * 1e6}
    print(json.dumps(figures | {"failures": failures}), flush=True)
    return 0


sys.exit(main(sys.argv[1:]))
