"""Progress of long steps as plain lines: what began, that it goes on, how long it took."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from lab.common.say import Say

EVERY_S = 10.0


@contextmanager
def step(say: Say, what: str, every_s: float = EVERY_S) -> Iterator[None]:
    """Say `what …`, a line every `every_s` while it lasts, and its seconds at the end if they are any."""
    started = time.monotonic()
    done = threading.Event()

    def tick() -> None:
        while not done.wait(every_s):
            say(f"{what}: {time.monotonic() - started:.0f} s so far")

    say(f"{what} …")
    ticker = threading.Thread(target=tick, name=f"progress: {what}", daemon=True)
    ticker.start()
    try:
        yield
    finally:
        done.set()
        ticker.join()
    say(f"{what}: {time.monotonic() - started:.1f} s")
