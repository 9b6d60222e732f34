"""Progress of long steps as plain lines: the start, a sign every ten seconds, the time it took."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from lab.common.notify import Notify

EVERY_S = 10.0


@contextmanager
def step(notify: Notify, what: str, every_s: float = EVERY_S) -> Iterator[None]:
    """Print `what …`, a line every `every_s` while it runs, and its duration when it succeeds."""
    started = time.monotonic()
    done = threading.Event()

    def tick() -> None:
        while not done.wait(every_s):
            notify(f"{what}: {time.monotonic() - started:.0f} s so far")

    notify(f"{what} …")
    ticker = threading.Thread(target=tick, name=f"progress: {what}", daemon=True)
    ticker.start()
    try:
        yield
    finally:
        done.set()
        ticker.join()
    notify(f"{what}: {time.monotonic() - started:.1f} s")
