"""The agent's side of the delay line: a kernel queue per interface and set of peers, and the child process.

Order of steps matters: a queue is bound before its rule sends packets to it, and the rule is gone before the
queue is given back, else packets are dropped in between.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from . import netlink, rules
from .command import Refused

_FIRST_QUEUE = 100
_ANSWER_DEADLINE_S = 5.0


@dataclass(slots=True)
class _Lane:
    queue: int
    rules: list[list[str]]
    impairment: Mapping[str, object]


class Lanes:
    """Queues, rules and the delay line process; `on_death` is told, with the reason, when that dies."""

    def __init__(self, on_death: Callable[[str], None]) -> None:
        self._on_death = on_death
        self._lanes: dict[tuple[str, tuple[str, ...]], _Lane] = {}
        self._next_queue = _FIRST_QUEUE
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._stopping = False

    async def set(self, interface: str, peers: tuple[str, ...], impairment: Mapping[str, object]) -> None:
        """Impair what leaves the interface to these peers (none: to all that have no lane of their own)."""
        lane = self._lanes.get((interface, peers))
        if lane:
            await self._ask({"do": "set", "queue": lane.queue, "impairment": impairment})
            lane.impairment = impairment
            return
        queue = self._next_queue
        self._next_queue += 1
        await self._ask({"do": "set", "queue": queue, "impairment": impairment})
        lane = _Lane(queue, rules.queue_rules(interface, peers, queue, rules.has_ipv6(interface)), impairment)
        await rules.run_all(lane.rules)
        self._lanes[interface, peers] = lane

    async def clear(self, interface: str) -> int:
        """End all lanes of the interface: number of lanes. What they hold still leaves at its time."""
        mine = [key for key in self._lanes if key[0] == interface]
        for key in mine:
            lane = self._lanes.pop(key)
            await rules.run_all(rules.without(lane.rules))
            await self._ask({"do": "close", "queue": lane.queue})
        return len(mine)

    async def read(self, interface: str) -> list[dict[str, object]]:
        """Per lane of the interface: `peers`, `counters` since its start, lateness since the last read."""
        if all(name != interface for name, _ in self._lanes):
            return []
        kernel, seen = netlink.counters(), await rules.seen()
        found: list[dict[str, object]] = []
        for (name, peers), lane in self._lanes.items():
            if name != interface:
                continue
            if lane.queue not in kernel:
                raise Refused(
                    f"{interface}: the kernel has no queue {lane.queue} any more: its packets are dropped"
                )
            if lane.queue not in seen and any(rule[0] == "iptables" for rule in lane.rules):
                raise Refused(
                    f"{interface}: the rule of queue {lane.queue} has vanished: packets pass untouched"
                )
            own = await self._ask({"do": "read", "queue": lane.queue})
            counters = own | kernel[lane.queue] | {"bytes": seen.get(lane.queue, {}).get("bytes")}
            found.append({"peers": list(peers), "counters": counters})
        return found

    def configured(self, interface: str) -> list[dict[str, object]]:
        """Per lane of the interface: `peers`, number of the `queue`, `impairment` as taken, `rules`."""
        return [
            {
                "peers": list(peers),
                "queue": lane.queue,
                "impairment": dict(lane.impairment),
                "rules": [" ".join(rule) for rule in lane.rules],
            }
            for (name, peers), lane in self._lanes.items()
            if name == interface
        ]

    async def stop(self) -> None:
        """End the delay line. Rules stay: what would have been delayed is dropped."""
        self._stopping = True
        if self._process:
            self._control.close()
            await asyncio.wait_for(self._process.wait(), 1.5)

    async def _ask(self, request: Mapping[str, object]) -> dict[str, object]:
        if self._process is None:
            await self._start()
        self._control.write(json.dumps(request).encode() + b"\n")
        try:
            line = await asyncio.wait_for(self._answers.readline(), _ANSWER_DEADLINE_S)
        except TimeoutError as error:
            raise Refused(f"the delay line gave no answer within {_ANSWER_DEADLINE_S} s") from error
        answer: dict[str, object] = (
            json.loads(line) if line else {"ok": False, "says": "the delay line has died"}
        )
        if not answer.pop("ok"):
            raise Refused(str(answer["says"]))
        return answer

    async def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "nettools", "delayline", stdin=theirs.fileno()
            )
        self._answers, self._control = await asyncio.open_connection(sock=ours)
        self._watch = asyncio.create_task(self._wait(self._process))

    async def _wait(self, process: asyncio.subprocess.Process) -> None:
        code = await process.wait()
        if not self._stopping:
            self._on_death(f"the delay line died (exit {code}): what it should delay is dropped")
