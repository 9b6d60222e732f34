"""Send the agent one command and print its answer; run by `docker exec` in the agent's container."""

from __future__ import annotations

import json
import os
import socket
import time

SOCKET = "LAB_NETTOOLS_SOCKET"
SOCKET_DEFAULT = "/tmp/nettools.sock"
_CONNECT_DEADLINE_S = 1.0  # commands are sent after the agent's `ready` only
_ANSWER_DEADLINE_S = 60.0


def main(command: str) -> int:
    """Return exit code 0 if the agent did it, 1 if it refused, 4 if there is no agent."""
    path = os.environ.get(SOCKET, SOCKET_DEFAULT)
    wait_s = _ANSWER_DEADLINE_S + _requested_wait_s(command)
    with socket.socket(socket.AF_UNIX) as agent:
        if not _connect(agent, path):
            print(json.dumps({"ok": False, "says": f"no agent on {path} within {_CONNECT_DEADLINE_S} s"}))
            return 4
        agent.settimeout(wait_s)
        agent.sendall(command.encode() + b"\n")
        try:
            line = agent.makefile().readline()
        except TimeoutError:
            line = json.dumps({"ok": False, "says": f"the agent gave no answer within {wait_s:.0f} s"})
    if not line:
        line = json.dumps({"ok": False, "says": "the agent ended before it answered"})
    print(line.strip())
    return 0 if json.loads(line).get("ok") else 1


def _requested_wait_s(command: str) -> float:
    """Return how long the command takes by itself: until its `at_mono_ms`, and for its probes."""
    try:
        request = json.loads(command)
        at_s = float(request.get("at_mono_ms") or 0) / 1e3
        probes_s = float(request.get("count", 0)) * float(request.get("interval_ms", 0)) / 1e3
    except (ValueError, TypeError, AttributeError):
        return 0.0  # malformed: the agent refuses it at once
    return max(at_s - time.monotonic(), 0.0) + probes_s


def _connect(agent: socket.socket, path: str) -> bool:
    deadline = time.monotonic() + _CONNECT_DEADLINE_S
    while True:
        try:
            agent.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        else:
            return True
