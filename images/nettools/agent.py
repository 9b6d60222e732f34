"""The agent of one node: executes JSON commands from a Unix socket; the delay line is its child process.

If the delay line dies, packets are dropped (nothing fails open) and the agent exits with an error, which the
orchestrator detects. The rules are left in place on purpose: they are removed with the network namespace.
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

from kernel import scheduling

from . import tc
from .capabilities import capabilities
from .command import CommandError
from .ctl import SOCKET, SOCKET_DEFAULT
from .probe import probe
from .queues import Queues

Command = Mapping[str, object]
Answer = dict[str, object]


def emit(event: str, **fields: object) -> None:
    """Print one event as a JSON line on standard output."""
    print(json.dumps({"event": event, "mono_ms": time.monotonic_ns() / 1e6, **fields}), flush=True)


class Agent:
    """The commands, one method each: from a JSON object to a JSON object, or CommandError."""

    def __init__(self, queues: Queues) -> None:
        self._queues = queues
        self._lock = asyncio.Lock()
        self._supported: Answer | None = None
        self._commands: dict[str, Callable[[Command], Awaitable[Answer]]] = {
            "capabilities": self._capabilities,
            "interfaces": self._interfaces,
            "set": self._set,
            "clear": self._clear,
            "configured": self._read_configured,
            "read": self._read,
            "probe": self._probe,
        }

    async def answer(self, line: bytes) -> Answer:
        """Execute one command; return its answer, also for a bad command."""
        try:
            command = json.loads(line)
            if not isinstance(command, dict) or command.get("do") not in self._commands:
                raise CommandError(f"unknown command; known are {', '.join(sorted(self._commands))}")
            return {"ok": True} | await self._commands[str(command["do"])](command)
        except (CommandError, OSError, ValueError) as error:
            return {"ok": False, "says": str(error)}
        except (KeyError, TypeError) as error:
            return {"ok": False, "says": f"malformed command: {type(error).__name__}: {error}"}

    async def _capabilities(self, _command: Command) -> Answer:
        async with self._lock:
            if self._supported is None:  # the kernel does not change while we run
                self._supported = await capabilities()
            return self._supported

    async def _interfaces(self, _command: Command) -> Answer:
        return {"interfaces": await tc.interfaces()}

    async def _set(self, command: Command) -> Answer:
        at_mono_ms = command.get("at_mono_ms")
        wanted_ms = float(at_mono_ms) if isinstance(at_mono_ms, int | float) else None
        interface = str(command["interface"])
        if command["backend"] == "delayline":
            impairment = _impairment(command)
            await tc.sleep_until(wanted_ms)
            async with self._lock:
                await self._queues.set(interface, _peers(command), impairment)
        elif command["backend"] == "netem":
            async with tc.Batch(_commands(command)) as batch:
                await tc.sleep_until(wanted_ms)
                await batch.run()
        else:
            raise CommandError(f"backend: unknown {command['backend']!r}; known are delayline and netem")
        applied_ms = time.monotonic_ns() / 1e6
        configured = await self._configured(interface)
        return {"wanted_mono_ms": wanted_ms, "applied_mono_ms": applied_ms, "configured": configured}

    async def _clear(self, command: Command) -> Answer:
        interface, commands = str(command["interface"]), _commands(command)
        async with self._lock:
            cleared = await self._queues.clear(interface)
        try:
            async with tc.Batch(commands) as batch:
                await batch.run()
        except CommandError:
            # The rules of an interface vanish with it, as when its container has ended.
            if interface in (name for _, name in socket.if_nameindex()):
                raise
        return {"cleared": cleared, "applied_mono_ms": time.monotonic_ns() / 1e6}

    async def _read_configured(self, command: Command) -> Answer:
        async with self._lock:
            return {"configured": await self._configured(str(command["interface"]))}

    async def _read(self, command: Command) -> Answer:
        interface = str(command["interface"])
        async with self._lock:
            queues = await self._queues.read(interface)
            return {"configured": await self._configured(interface), "queues": queues}

    async def _probe(self, command: Command) -> Answer:
        count, interval_ms = command.get("count", 20), command.get("interval_ms", 20)
        if not isinstance(count, int) or not isinstance(interval_ms, int | float) or not 1 <= count <= 10_000:
            raise CommandError("probe: count must be 1 … 10000, interval_ms a number")
        return await asyncio.to_thread(probe, str(command["host"]), count, interval_ms)

    async def _configured(self, interface: str) -> Answer:
        return {"qdiscs": await tc.qdiscs(interface), "queues": self._queues.configured(interface)}


def _impairment(command: Command) -> Mapping[str, object]:
    impairment = command["impairment"]
    if not isinstance(impairment, dict):
        raise CommandError(f"impairment: {impairment!r} is not an object")
    return impairment


def _peers(command: Command) -> tuple[str, ...]:
    peers = command.get("peers") or []
    if not isinstance(peers, list):
        raise CommandError("peers: not a list of addresses")
    return tuple(str(peer) for peer in peers)


def _commands(command: Command) -> list[list[str]]:
    commands = command.get("commands", [])
    if not isinstance(commands, list) or not all(isinstance(argv, list) for argv in commands):
        raise CommandError("commands: not a list of argument lists")
    return [[str(word) for word in argv] for argv in commands]


async def _serve(path: Path, real_time: bool) -> int:
    stop = asyncio.Event()
    deaths: list[str] = []

    def on_death(reason: str) -> None:
        deaths.append(reason)
        stop.set()

    def on_start(pid: int) -> None:
        why_not = scheduling.make_real_time(pid) if real_time else scheduling.NOT_ASKED
        scheduled = {"task": "delay line", "asked": real_time, "policy": scheduling.policy(pid)}
        emit("scheduled", **scheduled, pid=pid, why_not=why_not)

    queues = Queues(on_death, on_start)
    agent = Agent(queues)

    async def serve_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(json.dumps(await agent.answer(line)).encode() + b"\n")
                await writer.drain()
        except ConnectionError:
            emit("log", level="warning", says="a client closed its connection before it got its answer")
        finally:
            writer.close()

    for signal_number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signal_number, stop.set)
    path.unlink(missing_ok=True)
    async with await asyncio.start_unix_server(serve_connection, path, limit=1 << 20):
        emit("ready", pid=os.getpid(), socket=str(path), host=socket.gethostname())
        await stop.wait()
    if deaths:
        emit("log", level="error", says=deaths[0])
        return 1
    await queues.stop()
    return 0


def main(real_time: bool = False) -> int:
    """Serve until SIGTERM (exit code 0) or until the delay line dies (exit code 1).

    With `real_time` the delay line runs in the real-time class where that is permitted.
    """
    path = Path(os.environ.get(SOCKET, SOCKET_DEFAULT))
    try:
        return asyncio.run(_serve(path, real_time))
    finally:
        path.unlink(missing_ok=True)
