"""One container: create it, follow its output, inspect it, signal it, stop it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import docker.errors

from lab.common import proc
from lab.common.errors import LabError, NoMeasurement, UsageError
from lab.engine.api import Engine, OutputStream
from lab.runtime import ExecResult, NodeExit
from lab.runtime.docker_spec import CPU_PERIOD_US, Arguments
from lab.runtime.node_log import NodeLog

END_S = 5.0
# 128 + the number of the signal: the exit code with which the init, like a shell, reports it.
SIGNALS = {
    132: "SIGILL",
    134: "SIGABRT",
    135: "SIGBUS",
    136: "SIGFPE",
    137: "SIGKILL",
    139: "SIGSEGV",
    143: "SIGTERM",
}


class Container:
    """A container, created or not yet. `node` is its name in the topology, `name` the one on the engine."""

    def __init__(self, engine: Engine, node: str, name: str) -> None:
        self.node = node
        self.id = name  # a name will do until create() returns the id
        self.pid = 0  # of its init, on the engine's host
        self.addresses: dict[str, str] = {}  # by the engine's name of a network
        self.log: NodeLog | None = None
        self._engine = engine
        self._stream: OutputStream | None = None
        self._paused = False

    def create(self, spec: Arguments, more_networks: Sequence[str]) -> None:
        """Create it and connect it to more networks. Raises UsageError where the image is missing."""
        api = self._engine.api
        try:
            answer = self._engine.call(f"create {self.node}", api.create_container, allow=(404,), **spec)
        except docker.errors.NotFound as error:
            says = f"{self.node}: no image '{spec['image']}' here ({error.explanation}): build or load it"
            raise UsageError(says) from error
        self.id = str(answer["Id"])
        for network in more_networks:
            what = f"connect {self.node} to {network}"
            self._engine.call(what, api.connect_container_to_network, self.id, network, aliases=[self.node])

    def run(self, log: NodeLog) -> None:
        """Attach, then start it: nothing is lost even if the node ends at once."""
        api = self._engine.api
        params = {"stdout": 1, "stderr": 1, "stream": 1}
        self._stream = OutputStream(self._call("attach to", api.attach_socket, params))
        self.log = log
        follower = threading.Thread(
            target=self._follow, args=(self._stream, log), name=f"follow {self.node}", daemon=True
        )
        follower.start()
        self._call("start", api.start)
        state = self._call("inspect", api.inspect_container)
        if state["State"]["Status"] == "created":
            raise NoMeasurement(f"the Docker engine reported that it started {self.node}, but did not")
        self.pid = int(state["State"]["Pid"])
        networks = state["NetworkSettings"]["Networks"]
        self.addresses = {network: found["IPAddress"] for network, found in networks.items()}

    def _follow(self, stream: OutputStream, log: NodeLog) -> None:
        """Feed the node's output into its log until it ends, then ask how it ended."""
        lost: str | None = None
        try:
            for number, data in stream.frames():
                log.feed(number, data)
        except LabError as error:
            lost = str(error)
        try:
            log.end(self._exit(0.0 if lost else END_S), lost)
        except LabError as error:
            log.end(None, str(error))

    def _exit(self, deadline_s: float) -> NodeExit | None:
        """Return how it ended, after its output has; None if it still runs after `deadline_s`."""
        until = time.monotonic() + deadline_s
        while True:
            state = self._call("inspect", self._engine.api.inspect_container)["State"]
            if state["Status"] in ("exited", "dead"):
                code = int(state["ExitCode"])
                return NodeExit(code, SIGNALS.get(code), bool(state["OOMKilled"]))
            if time.monotonic() > until:
                return None
            time.sleep(0.02)

    def cgroup(self) -> str | None:
        """Return its cgroup, where the engine runs on this host and in this pid namespace."""
        group = proc.cgroup_path(self.pid) if self.pid else None
        return group if group and self.id in group else None

    def pids(self) -> list[int]:
        """Return its processes on this host except the init, oldest first; empty where they are hidden."""
        group = self.cgroup()
        return [pid for pid in proc.cgroup_pids(group) if pid != self.pid] if group else []

    def exec(self, argv: Sequence[str], deadline_s: float) -> ExecResult:
        """Run a command inside. One that exceeds the deadline continues until the container is removed."""
        until = time.monotonic() + deadline_s
        api = self._engine.api
        what = f"run {argv[0]} in {self.node}"
        made = self._engine.call(what, api.exec_create, self.id, list(argv))
        stream = OutputStream(self._engine.call(what, api.exec_start, made["Id"], socket=True))
        printed = {1: b"", 2: b""}
        try:
            for number, data in stream.frames(until):
                printed[number] += data
        except TimeoutError:
            raise NoMeasurement(f"{self.node}: {argv[0]} did not end within {deadline_s:g} s") from None
        finally:
            stream.close()
        code = self._engine.call(what, api.exec_inspect, made["Id"])["ExitCode"]
        out, err = (text.decode("utf-8", "replace") for text in printed.values())
        return ExecResult(int(code), out, err)

    def signal(self, name: str) -> None:
        """Send a signal. The init forwards it to the node, except SIGSTOP, which it cannot."""
        if name == "SIGSTOP":
            raise UsageError("SIGSTOP stops the container's init only: pause the node instead")
        self._call(f"send {name} to", self._engine.api.kill, name)

    def pause(self) -> None:
        """Freeze it: the cgroup freezer stops all its processes at once."""
        self._call("pause", self._engine.api.pause)
        self._paused = True

    def unpause(self) -> None:
        """Let its processes continue."""
        self._call("unpause", self._engine.api.unpause)
        self._paused = False

    def limit(self, cpus: float | None, memory_bytes: int | None) -> Callable[[], None]:
        """Change its limits; return what restores the former ones.

        A CPU limit is a quota of each period (cgroups(7), CFS bandwidth); a quota of -1 is unlimited.
        """
        before = self._call("inspect", self._engine.api.inspect_container)["HostConfig"]
        settings: Arguments = {}
        former: Arguments = {}
        if cpus is not None:
            settings |= {"cpu_period": CPU_PERIOD_US, "cpu_quota": round(cpus * CPU_PERIOD_US)}
            former |= {
                "cpu_period": before["CpuPeriod"] or CPU_PERIOD_US,
                "cpu_quota": before["CpuQuota"] or -1,
            }
        if memory_bytes is not None:
            settings |= {"mem_limit": memory_bytes, "memswap_limit": memory_bytes}
            former |= {"mem_limit": before["Memory"], "memswap_limit": before["MemorySwap"]}
        self._update("limit", settings)
        return lambda: self._update("restore the limit of", former)

    def _update(self, what: str, settings: Arguments) -> None:
        self._call(what, self._engine.api.update_container, **settings)

    def stop(self, grace_s: float) -> NodeExit:
        """Send SIGTERM, after `grace_s` SIGKILL, and read the rest of its output. Raises NoMeasurement."""
        if self.log is None:
            raise NoMeasurement(f"{self.node} was never started")
        if not self.log.ended:
            if self._paused:
                self.unpause()
            self._kill("SIGTERM")
            if not self.log.wait_end(grace_s):
                self._kill("SIGKILL")
        if not self.log.wait_end(END_S):
            raise NoMeasurement(f"{self.node}: still running {END_S:g} s after SIGKILL")
        exit_ = self.log.exited()
        if exit_ is None:
            raise NoMeasurement(f"{self.node}: the engine cannot say how it ended")
        return exit_

    def end(self) -> None:
        """Kill it if it runs, and read the rest of its output."""
        if self.log and not self.log.ended and self.pid:
            self._kill("SIGKILL")
            self.log.wait_end(END_S)

    def discard(self) -> None:
        """Remove it after a start that failed, so that its name is free again."""
        self.close()
        self._call("remove", self._engine.api.remove_container, allow=(404,), force=True, v=True)

    def close(self) -> None:
        """Stop following its output."""
        if self._stream:
            self._stream.close()

    def _kill(self, name: str) -> None:
        with contextlib.suppress(docker.errors.APIError):  # 404, 409: it has just ended
            self._engine.call(f"end {self.node}", self._engine.api.kill, self.id, name, allow=(404, 409))

    def _call(self, what: str, function: Any, *args: Any, **kwargs: Any) -> Any:
        return self._engine.call(f"{what} {self.node}", function, self.id, *args, **kwargs)
