"""Several masters whose loads begin at the same moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from lab.common.clock import mono_ms
from lab.runtime import Deployment, Event

# A master that is told begins at the next whole second that is half a second ahead (images/CONTRACT.md).
EARLY_MS = 100.0
POLL_S = 0.005


def begin(signal: Callable[[str, str], None], masters: Sequence[str]) -> None:
    """Tell all held masters to begin, together and early within a second, so that all take the same one."""
    while mono_ms() % 1000 > EARLY_MS:
        time.sleep(POLL_S)
    with ThreadPoolExecutor(len(masters)) as pool:
        list(pool.map(lambda master: signal(master, "SIGUSR2"), masters))


def begin_when_held(deployment: Deployment, masters: Sequence[str]) -> None:
    """Tell them as soon as all are held, whoever started them."""
    held: set[str] = set()

    def take(node: str, event: Event) -> None:
        if node not in masters or node in held or event["event"] != "phase":
            return
        if event["phase"] == "held":
            held.add(node)
            if len(held) == len(masters):
                threading.Thread(target=begin, args=(deployment.signal, masters), daemon=True).start()

    deployment.subscribe(take)
