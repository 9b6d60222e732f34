"""Images of one's own: a digest names a content, a tag can be moved to another one."""

from __future__ import annotations

import re

from lab.scenario.problem import Problem
from lab.scenario.resolved import Resolved, with_values
from lab.scenario.scenario import Scenario
from lab.scenario.sweep import at_point, sweep_points
from lab.scenario.yaml_file import Keys

# An image by its content: the digest in a registry, or the id of a local image.
DIGEST = re.compile(r"(^|@)sha256:[0-9a-f]{64}$")


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
