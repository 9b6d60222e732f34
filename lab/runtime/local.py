"""The local runtime: every node is a plain process of this host. No Docker, no root, no isolation.

It is for tests and a first look. All nodes share the host's network (127.0.0.1), kernel settings and limits,
so results are stamped `not isolated`. It cannot impair links, and it runs the lab's own images only.
"""

from __future__ import annotations

import json
import os
import resource
import secrets
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lab.common import proc, scheduling
from lab.common.cpus import cpu_list
from lab.common.errors import HostCannot, NoMeasurement, UsageError
from lab.common.owner import MARK, Owner
from lab.common.paths import IMAGES
from lab.common.scheduling import Budget
from lab.plan.render import Addressing, free_local_addressing
from lab.plan.topology import Node, Topology
from lab.runtime import Deployment, ExecResult, NodeExit
from lab.runtime.journal import Journal
from lab.runtime.node_log import STDERR, STDOUT, LoggedDeployment, NodeLog
from lab.runtime.watchdog import Watchdog

COMMANDS = {"server": ("python", "-m", "iomodels"), "swarm": ("python", "-m", "swarm")}
# All that a node has of the caller's environment, as a container has nothing of it. Other variables would
# change what is measured in silence: LAB_NODELAY, PYTHONASYNCIODEBUG, MALLOC_ARENA_MAX, LD_PRELOAD.
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
KILL_WAIT_S = 5.0


class LocalRuntime:
    """Starts the nodes of a topology as processes. See Runtime."""

    name = "local"
    isolated = False
    nodes_are_children = True
    own_images_only = True
    limits = frozenset({"nofile"})

    def real_time_expected(self) -> bool:
        """See Runtime: processes inherit the privilege and the limit of this one."""
        return os.geteuid() == 0 or resource.getrlimit(resource.RLIMIT_RTPRIO)[0] != 0

    def addressing(self, folder: Path) -> Addressing:
        """See Runtime: all nodes share the loopback, so each listens on a port of its own."""
        return free_local_addressing(folder)

    @contextmanager
    def up(self, topology: Topology, logs: Path) -> Iterator[Deployment]:
        """See Runtime. Raises HostCannot where a limit is too high, UsageError for an image of your own."""
        mark = f"{topology.run}/{topology.trial}/{secrets.token_hex(8)}"
        with tempfile.TemporaryDirectory(prefix="lab-") as scratch:
            journal = Journal(topology.run, Owner.myself())
            journal.will("mark", mark)
            journal.will("scratch", scratch)
            watchdog = Watchdog(topology.run)
            deployment = LocalDeployment(logs, mark, scratch)
            try:
                for node in topology.nodes:
                    deployment.start(node)
                yield deployment
            finally:
                deployment.close()
                journal.close(all_gone=True)
                watchdog.dismiss()
        deployment._raise_callback_errors()


class LocalDeployment(LoggedDeployment):
    """Running processes. See Deployment."""

    runtime = "local"
    isolated = False
    stamps: tuple[str, ...] = ("not isolated",)

    def __init__(self, logs: Path, mark: str, scratch: str) -> None:
        super().__init__(logs)
        self._mark = mark
        self._scratch = scratch
        self._nodes: dict[str, _Process] = {}

    def start(self, node: Node) -> None:
        """Start one node's process. It is killed when the thread that called this ends (PR_SET_PDEATHSIG)."""
        argv = _argv(node.image, node.argv)
        hard = _hard_nofile()
        if node.limits.nofile and node.limits.nofile > hard:
            raise HostCannot(
                f"{node.name} needs {node.limits.nofile} open files, but this host's hard limit is {hard}: "
                "lower `nofile`, or raise the limit (ulimit -Hn)"
            )
        settings = {"parent": os.getpid(), "cpus": cpu_list(node.cpu_set), "nofile": node.limits.nofile}
        launch = [
            sys.executable,
            "-I",
            "-S",
            str(Path(__file__).with_name("launch.py")),
            json.dumps(settings),
        ]
        environment = self._environment(node)
        process = subprocess.Popen(
            [*launch, *argv],
            env=environment,
            cwd=self._scratch,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        self._nodes[node.name] = _Process(process, environment, self._open_log(node.name))

    def nodes(self) -> list[str]:
        """See Deployment."""
        return list(self._nodes)

    def address(self, node: str, network: str) -> str:
        """See Deployment: every node is on the loopback."""
        self._log_of(node)
        return "127.0.0.1"

    def interface(self, node: str, network: str) -> str | None:
        """See Deployment: no node has an interface of its own."""
        self._log_of(node)
        return None

    def exec(self, node: str, argv: Sequence[str], deadline_s: float) -> ExecResult:
        """See Deployment."""
        self._log_of(node)
        command = [sys.executable if argv[0] == "python" else argv[0], *argv[1:]]
        with subprocess.Popen(
            command,
            env=self._nodes[node].environment,
            cwd=self._scratch,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as process:
            try:
                out, err = process.communicate(timeout=deadline_s)
            except subprocess.TimeoutExpired:
                _kill_group(process.pid, signal.SIGKILL)
                raise NoMeasurement(f"{node}: {argv[0]} did not end within {deadline_s:g} s") from None
            except BaseException:
                _kill_group(process.pid, signal.SIGKILL)
                raise
        code = process.returncode
        return ExecResult(
            code if code >= 0 else 128 - code, out.decode("utf-8", "replace"), err.decode("utf-8", "replace")
        )

    def helper(self, node: str) -> str:
        """See Deployment: processes have no network namespace to join."""
        raise HostCannot("the local runtime cannot impair links: use --runtime docker")

    def signal(self, node: str, name: str) -> None:
        """See Deployment."""
        self._running(node).send_signal(signal.Signals[name])

    def pause(self, node: str) -> None:
        """See Deployment: SIGSTOP to the node's process group."""
        _kill_group(self._running(node).pid, signal.SIGSTOP)

    def unpause(self, node: str) -> None:
        """See Deployment: SIGCONT to the node's process group."""
        _kill_group(self._running(node).pid, signal.SIGCONT)

    def limit(self, node: str, cpus: float | None, memory_bytes: int | None) -> Callable[[], None]:
        """See Deployment: plain processes have no cgroup of their own."""
        raise HostCannot(f"{node}: the local runtime cannot limit a node: use --runtime docker")

    def pids(self, node: str) -> list[int]:
        """See Deployment: the processes of the node's session."""
        self._log_of(node)
        first = self._nodes[node].process.pid
        others = [pid for pid in proc.marked(MARK, self._mark) if _session(pid) == first and pid != first]
        return [first, *others] if proc.start_ticks(first) is not None else others

    def host_pid(self, node: str, pid: int) -> int | None:
        """See Deployment: a process has the same id everywhere."""
        self._log_of(node)
        return pid

    def make_real_time(self, node: str, pid: int) -> Budget:
        """See Deployment."""
        self._log_of(node)
        try:
            scheduling.make_real_time(pid)
        except OSError as error:
            raise HostCannot(f"sched_setscheduler(2): {error.strerror}") from error
        return scheduling.kernel_budget()

    def cgroup(self, node: str) -> str | None:
        """See Deployment: the processes stay in the orchestrator's own group."""
        self._log_of(node)
        return None

    def stop(self, node: str, grace_s: float) -> NodeExit:
        """See Deployment."""
        log, process = self._log_of(node), self._nodes[node].process
        if not log.ended:
            _kill_group(process.pid, signal.SIGCONT)
            process.send_signal(signal.SIGTERM)
            if not log.wait_end(grace_s):
                _kill_group(process.pid, signal.SIGKILL)
        return self._ended(node)

    def close(self) -> None:
        """Kill what still runs, in whatever session it is, and read the rest of the logs."""
        left = proc.kill_marked(MARK, self._mark, KILL_WAIT_S)
        for node in self._nodes:
            self._ended(node)
        if left:
            raise NoMeasurement(f"these processes survive SIGKILL: {left}")

    def _ended(self, node: str) -> NodeExit:
        if not self._node_logs[node].wait_end(KILL_WAIT_S):
            raise NoMeasurement(f"{node}: still running {KILL_WAIT_S:g} s after SIGKILL")
        exit_ = self._node_logs[node].exited()
        assert exit_ is not None  # the exit code of a child is never lost
        return exit_

    def _running(self, node: str) -> subprocess.Popen[bytes]:
        if self._log_of(node).ended:
            raise NoMeasurement(f"{node}: it has already ended")
        return self._nodes[node].process

    def _environment(self, node: Node) -> dict[str, str]:
        path = os.pathsep.join([str(IMAGES), str(IMAGES / "server")])
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        return {
            **inherited,
            "PYTHONPATH": path,
            "TMPDIR": self._scratch,
            **node.environment,
            MARK: self._mark,
        }


class _Process:
    """A process and the thread that follows it."""

    def __init__(self, process: subprocess.Popen[bytes], environment: dict[str, str], log: NodeLog) -> None:
        self.process = process
        self.environment = environment
        threading.Thread(target=_follow, args=(process, log), name=f"follow {log.node}", daemon=True).start()


def _follow(process: subprocess.Popen[bytes], log: NodeLog) -> None:
    """Feed both streams into the log until the process has ended and all its output is read.

    A pidfd reports the end, not end-of-file: a forked child may keep the pipes open for longer.
    """
    out, err = process.stdout, process.stderr
    assert out is not None
    assert err is not None
    pidfd = os.pidfd_open(process.pid)
    with selectors.DefaultSelector() as selector, out, err:
        for stream, number in ((out, STDOUT), (err, STDERR)):
            os.set_blocking(stream.fileno(), False)
            selector.register(stream, selectors.EVENT_READ, number)
        selector.register(pidfd, selectors.EVENT_READ)
        ended = False
        while not ended:
            for key, _ in selector.select():
                if key.fd == pidfd:
                    ended = True
                elif not _drain(key.fd, key.data, log):
                    selector.unregister(key.fileobj)
        _drain(out.fileno(), STDOUT, log)
        _drain(err.fileno(), STDERR, log)
    os.close(pidfd)
    code = process.wait()
    log.end(NodeExit(code) if code >= 0 else NodeExit(128 - code, signal.Signals(-code).name))


def _drain(fd: int, stream: int, log: NodeLog) -> bool:
    """Read what is available; return False at end-of-file."""
    while True:
        try:
            data = os.read(fd, 65536)
        except BlockingIOError:
            return True
        if not data:
            return False
        log.feed(stream, data)


def _argv(image: str, argv: Sequence[str]) -> list[str]:
    if not argv and image not in COMMANDS:
        raise UsageError(f"the local runtime cannot run image '{image}': it has {', '.join(COMMANDS)} only")
    first, *rest = argv or COMMANDS[image]
    return [sys.executable if first == "python" else first, *rest]


def _kill_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def _hard_nofile() -> int:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return sys.maxsize if hard == resource.RLIM_INFINITY else hard
