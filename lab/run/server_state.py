"""What the story of a trial waits for at its server: ready, right answers, connections closed, alive."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Literal

from lab.common.clock import mono_ms
from lab.common.errors import Exit, LabError, NoMeasurement
from lab.results.base import describe
from lab.results.node import ServerReady, ServerStats, Verification
from lab.runtime import Deployment

SERVER_READY_S = 30.0
VERIFY_S = 30.0
GONE_S = 5.0
GONE_PER_S = 400.0  # 10,000 threads on one CPU took 24 s to end
POLL_S = 0.05


class ServerDied(LabError):
    """The server died under load."""

    exit_code = Exit.THRESHOLD


def ready(deployment: Deployment) -> ServerReady:
    """Wait until the server listens. Raises NoMeasurement where it does not, or breaks the contract."""
    event = deployment.wait_event("server", "ready", SERVER_READY_S)
    try:
        return ServerReady.model_validate(event)
    except ValueError as error:
        says = f"the server's `ready` breaks images/CONTRACT.md: {describe(error)}"
        raise NoMeasurement(says) from error


@contextmanager
def asking(deployment: Deployment, ready: ServerReady) -> Iterator[Callable[[], None] | None]:
    """Yield what makes the server print its statistics now; None for a server that cannot be asked.

    The signal goes straight to the process where this user may send it (root), for the engine takes tens of
    milliseconds. What it yields asks nobody once the server has ended, and raises LabError where the server
    cannot be reached.
    """
    name = ready.stats_signal
    if name is None:
        yield None
        return
    process = _process(deployment)

    def ask() -> None:
        if deployment.exited("server") is not None:
            return
        try:
            if process is not None:
                signal.pidfd_send_signal(process, signal.Signals[name])
                return
        except (PermissionError, ProcessLookupError):
            pass  # the engine may, or tells how it ended
        deployment.signal("server", name)

    try:
        yield ask
    finally:
        if process is not None:
            os.close(process)


def _process(deployment: Deployment) -> int | None:
    """Return a descriptor of the server's first process; None where it is not visible from here."""
    for pid in deployment.pids("server")[:1]:
        with suppress(OSError):
            return os.pidfd_open(pid)
    return None


def verify(deployment: Deployment, worker: str, when: Literal["before", "after"]) -> Verification:
    """Ask the server for right answers, from inside `worker`. Raises NoMeasurement when nobody could ask."""
    answer = deployment.exec(worker, ["python", "-m", "swarm", "verify"], VERIFY_S)
    for line in answer.out.splitlines():
        with suppress(ValueError, TypeError):
            return Verification.model_validate({**json.loads(line), "when": when})
    last = (answer.err or answer.out).strip().splitlines()[-1:] or ["it printed nothing"]
    raise NoMeasurement(f"the verification itself failed (exit {answer.code}): {last[0]}")


def require_right(verified: Verification) -> Verification:
    """Nothing is timed before the answers are right. Raises NoMeasurement naming the first that is wrong."""
    for check in verified.checks:
        if not check.ok:
            raise NoMeasurement(f"wrong answers from the server: {check.name}: {check.says}")
    return verified


def require_alive(deployment: Deployment) -> None:
    """Raise ServerDied, with its exit code or signal, for a server that ended."""
    ended = deployment.exited("server")
    if ended is not None:
        how = ended.signal or f"exit code {ended.code}"
        raise ServerDied(f"the server died under load ({how}{', out of memory' if ended.oom else ''})")


def wait_connections_closed(deployment: Deployment, ask: Callable[[], None] | None = None) -> None:
    """Wait until the server tells that the swarm's connections are closed.

    It waits for GONE_S at most, and 1 s longer for every GONE_PER_S connections that are open.

    It is asked (`ask`) at every look; one that cannot be asked tells it within a second. Before that, a
    server at its limit would refuse the verification, or keep it waiting. A server that prints no statistics
    gets the time that the swarm takes to close its connections.
    """
    asked_ms, last = mono_ms(), last_stats(deployment)
    most_s = GONE_S + (last.open or 0 if last else 0) / GONE_PER_S
    while mono_ms() < asked_ms + 1000 * most_s:
        last = last_stats(deployment)
        if last and last.open == 0 and last.mono_ms > asked_ms:
            return
        if deployment.exited("server") is not None:
            return
        if ask is not None:
            with suppress(LabError):  # it ends right now: the next look sees it
                ask()
        time.sleep(POLL_S)


def last_stats(deployment: Deployment) -> ServerStats | None:
    """Return the server's newest line of statistics; None where it printed none that can be read."""
    for event in reversed(deployment.events("server")):
        if event["event"] == "stats":
            with suppress(ValueError):
                return ServerStats.model_validate(event)
    return None
