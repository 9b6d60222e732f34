"""What of a scenario runs code that the lab does not know, and so needs `--trusted`.

An image by tag: a digest names a content, a tag can be moved to another one. A locustfile in the local
runtime: nothing confines it there. Every way to start nodes, or to write a file that starts them, asks here.
"""

from __future__ import annotations

import re

from lab.scenario.problem import Problem
from lab.scenario.resolved import Resolved, with_values
from lab.scenario.scenario import Scenario
from lab.scenario.sweep import at_point, sweep_points
from lab.scenario.yaml_file import Keys

# An image by its content: the digest in a registry, or the id of a local image.
DIGEST = re.compile(r"(^|@)sha256:[0-9a-f]{64}$")


LOCAL = "local"


def require(resolved: Resolved, runtime: str) -> None:
    """Refuse what needs `--trusted` in this runtime. Raises Refused at its place."""
    require_digests(resolved)
    if runtime == LOCAL:
        _require_no_code(resolved)


def _require_no_code(resolved: Resolved) -> None:
    points = (with_values(resolved, point) for point in sweep_points(resolved.scenario.sweep) if point)
    for scenario in (resolved.scenario, *points):
        for place, name in scenario.files():
            message = f"{name} would run with your permissions in the local runtime: trust it: --trusted"
            raise resolved.refused(Problem((place,), message))


def require_digests(resolved: Resolved) -> None:
    """Refuse an image by tag, also at a point of the sweep. Raises Refused at its place."""
    if problem := _problem(resolved.scenario):
        raise resolved.refused(problem)
    for point in sweep_points(resolved.scenario.sweep):
        if point and (problem := _problem(with_values(resolved, point))):
            raise at_point(resolved, point, problem)


def _problem(scenario: Scenario) -> Problem | None:
    for name, server in scenario.servers.items():
        if server.image and not DIGEST.search(server.image):
            place: Keys = ("servers", name, "image")
            message = (
                f"{server.image} is a tag, which can change: give a digest (name@sha256:…), or trust it: "
                "--trusted"
            )
            return Problem((place,), message)
    return None
