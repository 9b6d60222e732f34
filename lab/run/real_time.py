"""The class in which engines and delay lines are scheduled: they tell, and root helps where they could not.

The generator must not wait for others: its processes run in the real-time class where the host permits that.
First they ask themselves (a limit `rtprio`); where that failed, the lab does it from outside, as root. Else
they stay in the usual class, and the record says why. The server is left alone: another class would change
what is measured.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from lab.common import scheduling
from lab.common.errors import HostCannot, NoMeasurement
from lab.results.base import describe
from lab.results.node import ProcessClass, Scheduled
from lab.runtime import Deployment, Event

SERVER = "server"
STAMP = "generator: not in the real-time class"


class RealTime:
    """Follows a deployment: takes care of every process that tells of itself, and keeps its class."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._lock = threading.Lock()
        self._known: dict[tuple[str, int], ProcessClass] = {}
        self._settle_server()
        deployment.subscribe(self._take)
        for node in deployment.nodes():
            for event in deployment.events(node):
                self._take(node, event)

    def processes(self) -> list[ProcessClass]:
        """Return what is known of each process so far."""
        with self._lock:
            return list(self._known.values())

    def read_again(self) -> None:
        """Read every policy once more: what the load has run with must still be so."""
        with self._lock:
            for key, one in self._known.items():
                if one.pid is not None:
                    self._known[key] = one.replaced(policy_at_end=scheduling.policy(one.pid))

    def stamps(self) -> Iterable[str]:
        """Return what results are marked with: processes of the load that are not real-time."""
        if any(one.node != SERVER and one.policy != scheduling.REAL_TIME for one in self.processes()):
            yield STAMP

    def _take(self, node: str, event: Event) -> None:
        if event["event"] != "scheduled":
            return
        try:
            told = Scheduled.model_validate(event)
        except ValueError as error:
            what = f"{node}: its event 'scheduled' breaks images/CONTRACT.md: {describe(error)}"
            raise NoMeasurement(what) from error
        with self._lock:
            if (node, told.pid) not in self._known:
                self._known[node, told.pid] = self._settle(node, told)

    def _settle(self, node: str, told: Scheduled) -> ProcessClass:
        pid = self._deployment.host_pid(node, told.pid)
        one = ProcessClass(node=node, task=told.task, pid=pid, policy=told.policy, why_not=told.why_not)
        if told.policy == scheduling.REAL_TIME:
            return one.replaced(by="inside", **scheduling.kernel_budget()._asdict())
        if not told.asked:
            return one
        if pid is None:
            return one.replaced(why_not=f"{told.why_not}; its process is hidden from here")
        try:
            budget = self._deployment.make_real_time(node, pid)
        except HostCannot as error:
            return one.replaced(why_not=f"by itself: {told.why_not}; from outside: {error}")
        real_time = {"policy": scheduling.policy(pid), "by": "outside", "why_not": None}
        return one.replaced(**real_time, **budget._asdict())

    def _settle_server(self) -> None:
        """Note how the server's first process is scheduled."""
        pid = next(iter(self._deployment.pids(SERVER)), None)
        policy = None if pid is None else scheduling.policy(pid)
        self._known[SERVER, 0] = ProcessClass(node=SERVER, task=SERVER, pid=pid, policy=policy)
