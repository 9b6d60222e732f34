"""The long-lived helper of one node: takes JSON commands on a Unix socket, keeps the delay line as its child.

When the delay line dies, packets are dropped (there is no fail-open anywhere) and the agent ends with an
error: a dead helper is what the orchestrator sees. Rules are left in place on purpose; they die with the
namespace.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from . import tc
from .capabilities import capabilities
from .command import Refused
from .ctl import SOCKET, SOCKET_DEFAULT
from .lanes import Lanes
from .probe import probe

Command = Mapping[str, object]
Answer = dict[str, object]


def emit(event: str, **fields: object) -> None:
    """One line of the contract on standard output."""
    print(json.dumps({"event": event, "mono_ms": time.monotonic_ns() / 1e6, **fields}), flush=True)


class Agent:
    """The commands, one method each. An answer is a JSON object; what cannot be done raises Refused."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self._one_at_a_time = asyncio.Lock()
        self._can: Answer | None = None
        self._commands: dict[str, Callable[[Command], Awaitable[Answer]]] = {
            "capabilities": self._capabilities,
            "interfaces": self._interfaces,
            "set": self._set,
            "clear": self._clear,
            "configured": self._what_is_configured,
            "read": self._read,
            "probe": self._probe,
        }

    async def answer(self, line: bytes) -> Answer:
        """The answer to one command; never raises for a bad one."""
        try:
            command = json.loads(line)
            if not isinstance(command, dict) or command.get("do") not in self._commands:
                raise Refused(f"unknown command; known are {', '.join(sorted(self._commands))}")
            return {"ok": True} | await self._commands[str(command["do"])](command)
        except (Refused, OSError, ValueError) as error:
            return {"ok": False, "says": str(error)}
        except (KeyError, TypeError) as error:
            return {"ok": False, "says": f"malformed command: {type(error).__name__}: {error}"}

    async def _capabilities(self, _command: Command) -> Answer:
        async with self._one_at_a_time:
            if self._can is None:  # a kernel does not change while we run
                self._can = await capabilities()
            return self._can

    async def _interfaces(self, _command: Command) -> Answer:
        return {"interfaces": await tc.interfaces()}

    async def _set(self, command: Command) -> Answer:
        wanted = command.get("at_mono_ms")
        wanted_ms = float(wanted) if isinstance(wanted, int | float) else None
        interface = str(command["interface"])
        if command["backend"] == "delayline":
            impairment = _object(command["impairment"])
            await tc.until(wanted_ms)
            async with self._one_at_a_time:
                await self._lanes.set(interface, _peers(command), impairment)
        elif command["backend"] == "netem":
            async with tc.Batch(_commands(command)) as batch:
                await tc.until(wanted_ms)
                await batch.run()
        else:
            raise Refused(f"backend: unknown {command['backend']!r}; known are delayline and netem")
        applied_ms = time.monotonic_ns() / 1e6
        configured = await self._configured(interface)
        return {"wanted_mono_ms": wanted_ms, "applied_mono_ms": applied_ms, "configured": configured}

    async def _clear(self, command: Command) -> Answer:
        interface, commands = str(command["interface"]), _commands(command)
        async with self._one_at_a_time:
            cleared = await self._lanes.clear(interface)
        try:
            async with tc.Batch(commands) as batch:
                await batch.run()
        except Refused:
            # An interface that is gone, as a container's is once it has ended, has taken its rules along.
            if interface in (name for _, name in socket.if_nameindex()):
                raise
        return {"cleared": cleared, "applied_mono_ms": time.monotonic_ns() / 1e6}

    async def _what_is_configured(self, command: Command) -> Answer:
        async with self._one_at_a_time:
            return {"configured": await self._configured(str(command["interface"]))}

    async def _read(self, command: Command) -> Answer:
        interface = str(command["interface"])
        async with self._one_at_a_time:
            lanes = await self._lanes.read(interface)
            return {"configured": await self._configured(interface), "lanes": lanes}

    async def _probe(self, command: Command) -> Answer:
        count, interval_ms = command.get("count", 20), command.get("interval_ms", 20)
        if not isinstance(count, int) or not isinstance(interval_ms, int | float) or not 1 <= count <= 10_000:
            raise Refused("probe: count must be 1 … 10000, interval_ms a number")
        return await asyncio.to_thread(probe, str(command["host"]), count, interval_ms)

    async def _configured(self, interface: str) -> Answer:
        return {"qdiscs": await tc.qdiscs(interface), "lanes": self._lanes.configured(interface)}


def _object(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise Refused(f"impairment: {value!r} is not an object")
    return value


def _peers(command: Command) -> tuple[str, ...]:
    peers = command.get("peers") or []
    if not isinstance(peers, list):
        raise Refused("peers: not a list of addresses")
    return tuple(str(peer) for peer in peers)


def _commands(command: Command) -> list[list[str]]:
    commands = command.get("commands", [])
    if not isinstance(commands, list) or not all(isinstance(argv, list) for argv in commands):
        raise Refused("commands: not a list of argument lists")
    return [[str(word) for word in argv] for argv in commands]


async def _serve(path: Path) -> int:
    stop = asyncio.Event()
    died: list[str] = []

    def lost(says: str) -> None:
        died.append(says)
        stop.set()

    lanes = Lanes(on_death=lost)
    agent = Agent(lanes)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(json.dumps(await agent.answer(line)).encode() + b"\n")
                await writer.drain()
        except ConnectionError:
            emit("log", level="warning", says="a command's sender left before its answer")
        finally:
            writer.close()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    path.unlink(missing_ok=True)
    async with await asyncio.start_unix_server(talk, path, limit=1 << 20):
        emit("ready", pid=os.getpid(), socket=str(path), host=socket.gethostname())
        await stop.wait()
    if died:
        emit("log", level="error", says=died[0])
        return 1
    await lanes.stop()
    return 0


def main() -> int:
    """Serve until SIGTERM (exit 0) or the delay line's death (exit 1)."""
    path = Path(os.environ.get(SOCKET, SOCKET_DEFAULT))
    try:
        return asyncio.run(_serve(path))
    finally:
        path.unlink(missing_ok=True)
