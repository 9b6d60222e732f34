"""Several masters as one: their loads begin at the same moment, their events become one stream."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from lab.common.clock import mono_ms
from lab.load.merge import total
from lab.runtime import Deployment, Event

# A master that is told begins at the next whole second that is half a second ahead (images/CONTRACT.md).
EARLY_MS = 100.0
LOOK_S = 0.005


def begin(signal: Callable[[str, str], None], masters: Sequence[str]) -> None:
    """Tell all masters that are held to begin, at once and early within a second: so they take the same."""
    while mono_ms() % 1000 > EARLY_MS:
        time.sleep(LOOK_S)
    with ThreadPoolExecutor(len(masters)) as pool:
        list(pool.map(lambda master: signal(master, "SIGUSR2"), masters))


def begin_when_held(deployment: Deployment, masters: Sequence[str]) -> None:
    """Do that as soon as all are held, whoever says GO."""
    held: set[str] = set()

    def take(node: str, event: Event) -> None:
        if node in masters and event.get("phase") == "held" and node not in held:
            held.add(node)
            if len(held) == len(masters):
                threading.Thread(target=begin, args=(deployment.signal, masters), daemon=True).start()

    deployment.subscribe(take)


class Stream:
    """The events of several masters as those of one, for whoever follows the load.

    A phase has begun when it has for all; progress is told when all have told theirs. The rest is each
    master's own and passed on as it comes, but results: they are merged when all are there.
    """

    def __init__(self, masters: Sequence[str], pass_on: Callable[[Mapping[str, Any]], None]) -> None:
        self._masters, self._pass_on = masters, pass_on
        self._phases: dict[str, set[str]] = {}
        self._progress: dict[str, Event] = {}

    def take(self, master: str, event: Event) -> None:
        """Take one event of one master."""
        if len(self._masters) == 1:
            self._pass_on(event)
        elif event.get("event") == "phase":
            begun = self._phases.setdefault(event["phase"], set())
            begun.add(master)
            if len(begun) == len(self._masters):
                self._pass_on(event)
        elif event.get("event") == "progress":
            self._progress[master] = event
            if len(self._progress) == len(self._masters):
                self._pass_on(total([self._progress[each] for each in self._masters]))
                self._progress.clear()
        elif event.get("event") != "result":
            self._pass_on(event)
