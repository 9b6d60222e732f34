"""The agent's side of the delay line: a queue per interface and set of peers, and the child process.

The order of steps matters: a queue is bound before its rule sends packets to it, and the rule is deleted
before the queue is closed; otherwise packets are dropped in between.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from . import nfqueue_counters, rules
from .command import CommandError

_FIRST_NUMBER = 100
_ANSWER_DEADLINE_S = 5.0
_STOP_DEADLINE_S = 1.5


@dataclass(slots=True)
class _Queue:
    """A queue of the delay line as configured; `rules` are the commands that send packets to it."""

    number: int
    rules: list[list[str]]
    impairment: Mapping[str, object]


class Queues:
    """The queues, their rules and the delay line process.

    `on_death` is called with the reason when that process dies, `on_start` with its id once it answers.
    """

    def __init__(
        self, on_death: Callable[[str], None], on_start: Callable[[int], None] = lambda _: None
    ) -> None:
        self._on_death, self._on_start = on_death, on_start
        self._queues: dict[tuple[str, tuple[str, ...]], _Queue] = {}
        self._next_number = _FIRST_NUMBER
        self._process: asyncio.subprocess.Process | None = None
        self._watch_task: asyncio.Task[None] | None = None
        self._stopping = False

    async def set(self, interface: str, peers: tuple[str, ...], impairment: Mapping[str, object]) -> None:
        """Impair what the interface sends to these peers, or change the queue that does so already.

        Without peers it is what goes to all that have no queue of their own.

        Raises:
            CommandError: The delay line or a rule cannot do it.
        """
        queue = self._queues.get((interface, peers))
        if queue:
            await self._request({"do": "set", "queue": queue.number, "impairment": impairment})
            queue.impairment = impairment
            return
        number = self._next_number
        self._next_number += 1
        await self._request({"do": "set", "queue": number, "impairment": impairment})
        commands = rules.queue_rules(interface, peers, number, rules.has_ipv6(interface))
        queue = _Queue(number, commands, impairment)
        await rules.run_all(queue.rules)
        self._queues[interface, peers] = queue

    async def clear(self, interface: str) -> int:
        """Close all queues of the interface; return their number. Packets held are still released when due.

        Raises:
            CommandError: The delay line or a rule cannot do it.
        """
        keys = [key for key in self._queues if key[0] == interface]
        for key in keys:
            queue = self._queues.pop(key)
            await rules.run_all(rules.deletions(queue.rules))
            await self._request({"do": "close", "queue": queue.number})
        return len(keys)

    async def read(self, interface: str) -> list[dict[str, object]]:
        """Return `peers` and `counters` of each queue of the interface; lateness is since the last read.

        Raises:
            CommandError: A queue or its rule has vanished, or the delay line does not answer.
        """
        if all(name != interface for name, _ in self._queues):
            return []
        of_kernel, of_rules = nfqueue_counters.counters(), await rules.matched()
        found: list[dict[str, object]] = []
        for (name, peers), queue in self._queues.items():
            if name != interface:
                continue
            if queue.number not in of_kernel:
                raise CommandError(f"{interface}: queue {queue.number} has vanished: its packets are dropped")
            if queue.number not in of_rules and any(rule[0] == "iptables" for rule in queue.rules):
                raise CommandError(
                    f"{interface}: the rule of queue {queue.number} has vanished: packets pass unimpaired"
                )
            own = await self._request({"do": "read", "queue": queue.number})
            matched_bytes = of_rules.get(queue.number, {}).get("bytes")
            counters = own | of_kernel[queue.number] | {"bytes": matched_bytes}
            found.append({"peers": list(peers), "counters": counters})
        return found

    def configured(self, interface: str) -> list[dict[str, object]]:
        """Return `peers`, `queue` (its number), `impairment` and `rules` of each queue of the interface."""
        return [
            {
                "peers": list(peers),
                "queue": queue.number,
                "impairment": dict(queue.impairment),
                "rules": [" ".join(rule) for rule in queue.rules],
            }
            for (name, peers), queue in self._queues.items()
            if name == interface
        ]

    async def stop(self) -> None:
        """End the delay line process. The rules stay: packets that it should delay are dropped.

        Raises:
            TimeoutError: The process does not end within 1.5 s.
        """
        self._stopping = True
        if self._process:
            self._control.close()
            await asyncio.wait_for(self._process.wait(), _STOP_DEADLINE_S)

    async def _request(self, request: Mapping[str, object]) -> dict[str, object]:
        """Send one command to the delay line process, started if need be; return its answer."""
        started = self._process is None
        if self._process is None:
            self._process = await self._start()
        self._control.write(json.dumps(request).encode() + b"\n")
        try:
            line = await asyncio.wait_for(self._answers.readline(), _ANSWER_DEADLINE_S)
        except TimeoutError as error:
            raise CommandError(f"the delay line gave no answer within {_ANSWER_DEADLINE_S} s") from error
        answer: dict[str, object] = (
            json.loads(line) if line else {"ok": False, "says": "the delay line has died"}
        )
        if started and line:
            self._on_start(self._process.pid)
        if not answer.pop("ok"):
            raise CommandError(str(answer["says"]))
        return answer

    async def _start(self) -> asyncio.subprocess.Process:
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "nettools", "delayline", stdin=theirs.fileno()
            )
        self._answers, self._control = await asyncio.open_connection(sock=ours)
        self._watch_task = asyncio.create_task(self._watch(process))
        return process

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        code = await process.wait()
        if not self._stopping:
            self._on_death(
                f"the delay line died (exit code {code}): packets that it should delay are dropped"
            )
