"""What a scenario asks of a runtime that it cannot do: refused when the runtime is opened, never ignored."""

from __future__ import annotations

from lab.common.errors import HostCannot
from lab.plan.prepared import Prepared
from lab.runtime import Runtime
from lab.scenario.problem import Problem

LIMITS = ("cpus", "memory", "nofile", "pids")


def require_able(prepared: Prepared, runtime: Runtime) -> None:
    """Raise HostCannot or Refused for images, events and limits that the runtime would have to ignore."""
    _images(prepared, runtime)
    _events(prepared, runtime)
    _limits(prepared, runtime)


def _images(prepared: Prepared, runtime: Runtime) -> None:
    for name, server in prepared.resolved.scenario.servers.items():
        if server.image and runtime.own_images_only:
            raise HostCannot(
                f"servers.{name}.image: the {runtime.name} runtime runs the lab's own images only"
            )


def _events(prepared: Prepared, runtime: Runtime) -> None:
    for index, event in enumerate(prepared.resolved.scenario.events):
        if event.limit is not None and not runtime.isolated:
            raise HostCannot(
                f"events[{index}].limit: the {runtime.name} runtime cannot limit a node: use --runtime docker"
            )


def _limits(prepared: Prepared, runtime: Runtime) -> None:
    for trial in prepared.plan.trials:
        server = trial.scenario.servers[trial.server]
        for limit in LIMITS:
            if getattr(server, limit) is not None and limit not in runtime.limits:
                message = f"the {runtime.name} runtime cannot limit {limit}: use --runtime docker"
                raise prepared.resolved.refused(Problem((("servers", trial.server, limit),), message))
