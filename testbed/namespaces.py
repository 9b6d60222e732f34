"""Network namespaces on one bridge, each with an agent: the smallest deployment with links to impair.

The agent runs as in its container: as root with NET_ADMIN (and NET_RAW for duplicates), without any other
capability.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from lab.common.paths import IMAGES
from lab.runtime import ExecResult

TRAFFIC = Path(__file__).with_name("traffic.py")
NODES = ("a", "b", "c")
CTL = ["python", "-m", "nettools", "ctl"]


def run(*argv: str, check: bool = True) -> str:
    """Run a command for at most 20 s; return its standard output."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    assert not check or done.returncode == 0, f"{' '.join(argv)}: {done.stderr.strip()}"
    return done.stdout


class Namespaces:
    """A deployment of nodes a, b, c at 198.18.250.1 … 3 on `data`. See lab.impair.helper.Helpers."""

    def __init__(self, prefix: str, folder: Path, capabilities: str) -> None:
        self.prefix, self.folder, self._capabilities = prefix, folder, capabilities
        self.agents: dict[str, subprocess.Popen[str]] = {}
        self._traffic: dict[str, subprocess.Popen[str]] = {}

    def namespace(self, node: str) -> str:
        """Return the name of a node's network namespace."""
        return f"{self.prefix}-{node}"

    def address(self, node: str) -> str:
        """Return the IPv4 address of a node."""
        return f"198.18.250.{NODES.index(node) + 1}"

    def interface(self, node: str, network: str) -> str | None:
        """Return a node's interface on a network; None where it has none."""
        return "eth0" if network == "data" else None

    def helper(self, node: str) -> str:
        """Start the node's agent if it has none yet; return the name to `exec` in."""
        if node not in self.agents:
            self._start_agent(node)
        return node

    def exec(self, node: str, argv: Sequence[str], deadline_s: float) -> ExecResult:
        """Run a command; one for the agent goes directly to its socket, as a `ctl` process each is slow."""
        if list(argv[:4]) == CTL:
            return self._ask_agent(node, argv[4], deadline_s)
        return self.run(node, argv, deadline_s)

    def run(self, node: str, argv: Sequence[str], deadline_s: float) -> ExecResult:
        """Run a command inside the node to its end."""
        done = subprocess.run(
            [*self._inside(node), *argv],
            capture_output=True,
            text=True,
            timeout=deadline_s,
            env=self._environment(node),
            check=False,
        )
        return ExecResult(done.returncode, done.stdout, done.stderr)

    def begin(self, node: str, *command: Any) -> IO[str]:
        """Start one end of a flow (traffic.py), ready on return; read its answers from the result."""
        if node not in self._traffic:
            argv = [*self._inside(node), "python", "-I", "-S", str(TRAFFIC)]
            self._traffic[node] = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
            )
        process = self._traffic[node]
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(command) + "\n")
        assert json.loads(process.stdout.readline()) == "ready"
        return process.stdout

    def flow(self, receive: Sequence[Any], send: Sequence[Any]) -> dict[str, Any]:
        """Run a flow from a to b; return what b received."""
        receiver, sender = self.begin("b", *receive), self.begin("a", *send)
        return self.seen(receiver, sender)

    def seen(self, receiver: IO[str], sender: IO[str]) -> dict[str, Any]:
        """Wait for both ends; return what the receiver received."""
        assert json.loads(sender.readline()) == "sent"
        answer: dict[str, Any] = json.loads(receiver.readline())
        return answer

    def flood(self, packets_per_s: int, count: int) -> dict[str, Any]:
        """Send datagrams from a to b that nobody reads; return `sent`, `seconds` and `cpu_s`."""
        with self.flooding(packets_per_s, count) as answer:
            pass
        return answer

    @contextmanager
    def flooding(self, packets_per_s: int, count: int) -> Iterator[dict[str, Any]]:
        """Run a flood during the `with`; the yielded dict is filled in at its end."""
        answer: dict[str, Any] = {}
        sink = self.begin("b", "sink")
        source = self.begin("a", "flood", self.address("b"), packets_per_s, count)
        yield answer
        answer.update(json.loads(source.readline()))
        sink_input = self._traffic["b"].stdin
        assert sink_input is not None
        sink_input.write("\n")
        assert json.loads(sink.readline()) == "ended"

    def ask(self, node: str, command: dict[str, Any]) -> dict[str, Any]:
        """Send a command to a node's agent; return its answer."""
        answer: dict[str, Any] = json.loads(self.exec(self.helper(node), [*CTL, json.dumps(command)], 60).out)
        assert answer["ok"], answer
        return answer

    def stop(self) -> None:
        """End all processes of the nodes; agents by SIGTERM, within 3 s."""
        for process in self._traffic.values():
            process.communicate(timeout=15)
        _stop(self.agents)

    def state(self, node: str) -> str:
        """Return the queueing disciplines and rules of a node, to compare before and after."""
        inside = ["ip", "netns", "exec", self.namespace(node)]
        link = run(*inside, "ip", "-d", "link", "show", "dev", "eth0").splitlines()
        parts = [run(*inside, "tc", "qdisc", "show"), *link[-1:]]
        return "\n".join([*parts, run(*inside, "iptables", "-t", "raw", "-S")])

    def _ask_agent(self, node: str, command: str, deadline_s: float) -> ExecResult:
        with socket.socket(socket.AF_UNIX) as agent:
            agent.settimeout(deadline_s)
            try:
                agent.connect(str(self.folder / f"{node}.sock"))
            except OSError as error:
                return ExecResult(4, json.dumps({"ok": False, "says": f"no agent: {error}"}), "")
            agent.sendall(command.encode() + b"\n")
            answer = agent.makefile().readline()
        return ExecResult(0 if '"ok": true' in answer else 1, answer, "")

    def _inside(self, node: str) -> list[str]:
        return ["ip", "netns", "exec", self.namespace(node), "env", f"PATH={self._path()}"]

    def _path(self) -> str:
        return f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    def _environment(self, node: str) -> dict[str, str]:
        path = str(self.folder / f"{node}.sock")
        return dict(os.environ) | {"PYTHONPATH": str(IMAGES), "LAB_NETTOOLS_SOCKET": path}

    def _start_agent(self, node: str) -> None:
        keep = f"-all,{self._capabilities}"
        argv = ["setpriv", "--bounding-set", keep, "--inh-caps=-all", "--no-new-privs"]
        self.agents[node] = agent = subprocess.Popen(
            [*self._inside(node), *argv, "python", "-m", "nettools", "agent"],
            stdout=subprocess.PIPE,
            text=True,
            env=self._environment(node),
        )
        assert agent.stdout is not None
        ready = json.loads(agent.stdout.readline())
        assert ready["event"] == "ready"


def overtakers(numbers: Sequence[int]) -> list[int]:
    """Return the numbers that arrived before a lower one: sent ahead, however late the receiver was."""
    lowest_after = list(itertools.accumulate(reversed(numbers), min))[::-1]
    return sorted(n for n, lowest in zip(numbers, lowest_after[1:], strict=False) if n > lowest)


@contextmanager
def namespaces(folder: Path, capabilities: str = "+net_admin,+net_raw") -> Iterator[Namespaces]:
    """Create and connect nodes a, b and c; remove all at the end, agents by SIGTERM within 3 s."""
    prefix = f"lab{secrets.token_hex(3)}"
    switch = f"{prefix}-sw"
    with ExitStack() as stack:
        for name in (switch, *(f"{prefix}-{node}" for node in NODES)):
            run("ip", "netns", "add", name)
            stack.callback(run, "ip", "netns", "del", name, check=False)
        run("ip", "-n", switch, "link", "add", "br0", "type", "bridge")
        run("ip", "-n", switch, "link", "set", "br0", "up")
        # With a Docker engine on the host, bridges of new namespaces pass packets through iptables too.
        setting = "net.bridge.bridge-nf-call-iptables=0"
        run("ip", "netns", "exec", switch, "sysctl", "-qw", setting, check=False)
        for index, node in enumerate(NODES, start=1):
            _join(prefix, switch, node, f"198.18.250.{index}/24")
        made = Namespaces(prefix, folder, capabilities)
        stack.callback(made.stop)
        yield made


def _join(prefix: str, switch: str, node: str, address: str) -> None:
    name, port = f"{prefix}-{node}", f"port-{node}"
    batch = f"""
        link add eth0 type veth peer name {port} netns {switch}
        address add {address} dev eth0
        link set dev lo up
        link set dev eth0 up
    """
    # Without IPv6 only our own packets cross the link, so counters are exact.
    settings = ["net.ipv6.conf.all.disable_ipv6=1", "net.ipv4.ping_group_range=0 2147483647"]
    run("ip", "netns", "exec", name, "sysctl", "-qw", *settings)
    subprocess.run(["ip", "-n", name, "-batch", "-"], input=batch, text=True, timeout=20, check=True)
    run("ip", "-n", switch, "link", "set", "dev", port, "master", "br0", "up")


def _stop(agents: dict[str, subprocess.Popen[str]]) -> None:
    for agent in agents.values():
        agent.terminate()
    end = time.monotonic() + 3
    codes = []
    for agent in agents.values():
        try:
            codes.append(agent.wait(max(end - time.monotonic(), 0.1)))
        except subprocess.TimeoutExpired:
            agent.kill()
            codes.append(agent.wait(5))
        assert agent.stdout is not None
        agent.stdout.close()
    assert all(code in (0, 1, -9) for code in codes), f"agents ended with {codes}"
