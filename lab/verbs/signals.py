"""Ctrl-C, SIGTERM and SIGHUP while nodes are up."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lab.common.errors import Exit
from lab.verbs.streams import print_err


@contextmanager
def interrupting() -> Iterator[None]:
    """Let SIGTERM and SIGHUP act like Ctrl-C. The third signal exits at once: the watchdog cleans up."""
    count = 0

    def interrupt(number: int, _: Any) -> None:
        nonlocal count
        count += 1
        if count >= 3:
            os._exit(Exit.INTERRUPTED)
        print_err(f"\nlab: {signal.Signals(number).name}: cleaning up (the third signal exits at once)")
        raise KeyboardInterrupt

    handlers: dict[int, Callable[..., Any] | int | None] = {}
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        handlers[each] = signal.signal(each, interrupt)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
